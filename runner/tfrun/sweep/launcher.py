"""`hydra/launcher=fork` as a launcher of Hydra's, for sweepers that are plugins of Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from tfrun.errors import SweepError
from tfrun.sweep.composer import Composer
from tfrun.sweep.grid import Grid
from tfrun.sweep.jobs import Job
from tfrun.sweep.outcome import objective
from tfrun.sweep.pool import Pool


@dataclass(frozen=True)
class PoolTask:
    """The task function that Hydra gives the launcher: the sweep's pool, and what makes its jobs. Never called."""

    pool: Pool
    composer: Composer

    def __call__(self, cfg: DictConfig) -> NoReturn:
        raise NotImplementedError("the launcher gives the jobs to the pool")


class ForkLauncher(Launcher):
    """Runs jobs in processes forked from this one, which has imported TensorFlow but never starts its runtime.

    Hydra creates it from `hydra.launcher`. The pool has read its settings already.

    Args:
        n_jobs: the number of processes, or "auto".
        timeout_seconds: a job that takes longer is killed; None means no limit.
        lanes: the number of jobs of one structure that a process trains together.
    """

    def __init__(self, n_jobs: int | str = "auto", timeout_seconds: float | None = None, *, lanes: int = 1):
        """Accepts the settings, which the pool has read already."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Receives the pool with the task function."""
        assert isinstance(task_function, PoolTask)
        self._task = task_function
        self._config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs jobs and returns the results for Hydra's sweeper.

        Raises:
            Interrupted: a signal stopped the sweep, and the running jobs have ended.
        """
        setup_globals()
        pool = self._task.pool
        folder = Path(self._config.hydra.sweep.dir)
        jobs = [
            self._task.composer(overrides, initial_job_idx + k).within(folder)
            for k, overrides in enumerate(job_overrides)
        ]
        grid = Grid(jobs, composer=self._task.composer, mode=pool.mode)
        grid.begin(folder, pool.ledger)
        pool.run(grid)
        return [_returned(job) for job in jobs]


def _returned(job: Job) -> JobReturn:
    run = job.folder.read_run()
    is_completed = run["status"] == "completed"
    returned = _Return(
        overrides=job.overrides,
        cfg=OmegaConf.create(job.files[".hydra/config.yaml"]),
        hydra_cfg=OmegaConf.create(job.files[".hydra/hydra.yaml"]),
        working_dir=str(Path.cwd()),
        task_name="tfrun",
        status=JobStatus.COMPLETED if is_completed else JobStatus.FAILED,
    )
    returned.result = objective(run) if is_completed else SweepError(f"job {job.number} {run['status']}")
    return returned


class _Return(JobReturn):
    """Raises the error of a failed job without printing it: the board has printed the job's line already."""

    result: Any

    @property  # type: ignore[misc]
    def return_value(self) -> Any:
        if self.status == JobStatus.FAILED:
            raise self.result
        return self.result
