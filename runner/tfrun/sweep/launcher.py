"""Hydra's door to the pool: `hydra/launcher=fork`, for sweepers that come from elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from tfrun.config import hydra_private
from tfrun.errors import SweepError
from tfrun.sweep.jobs import Composer, Job
from tfrun.sweep.pool import Grid, Pool
from tfrun.sweep.task import Task, objective


class ForkLauncher(Launcher):
    """Runs jobs in processes forked from this one, which has TensorFlow imported but never starts its runtime.

    Args:
        n_jobs: how many at the same time.
        timeout_seconds: what a job may take before it is killed; None is no limit.
        lanes: how many jobs of one structure a process trains together.
    """

    pool: Pool  # of the sweep that this process runs
    composer: Composer

    def __init__(self, n_jobs: int = 1, timeout_seconds: float | None = None, lanes: int = 1):
        """Leaves the arguments to the pool, which has them already."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        assert isinstance(task_function, Task)
        self._config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs jobs and returns what Hydra's sweepers want to know of each.

        Raises:
            Interrupted: a signal came, and the jobs that ran have ended.
        """
        setup_globals()
        folder = Path(self._config.hydra.sweep.dir)
        composed = [self.composer(overrides, initial_job_idx + k) for k, overrides in enumerate(job_overrides)]
        jobs = [job.within(folder) for job in composed]
        self.pool.ledger.add([(job.number, job.overrides) for job in jobs])
        self.pool.run(Grid(jobs))
        return [_returned(job) for job in jobs]


def _returned(job: Job) -> JobReturn:
    run = job.folder.read_run()
    completed = run["status"] == "completed"
    result: Any = objective(run) if completed else SweepError(f"job {job.number} {run['status']}")
    status = JobStatus.COMPLETED if completed else JobStatus.FAILED
    cfg, hydra = (OmegaConf.create(job.files[f".hydra/{name}.yaml"]) for name in ("config", "hydra"))
    returned = _Return(job.overrides, cfg, hydra, str(Path.cwd()), "tfrun", status)
    returned.result = result
    return returned


class _Return(JobReturn):
    """Raises a failed job's error without a line on the terminal: the job's own has been there already."""

    result: Any

    @property  # type: ignore[misc]
    def return_value(self) -> Any:
        if self.status == JobStatus.FAILED:
            raise self.result
        return self.result


@contextlib.contextmanager
def registered(pool: Pool, composer: Composer) -> Any:
    """Makes the launcher known to Hydra, with the pool that runs its jobs."""
    ForkLauncher.pool, ForkLauncher.composer = pool, composer
    with hydra_private.accept_plugin(ForkLauncher):
        yield
