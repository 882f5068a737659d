"""Hydra's launcher for this machine: jobs in forked processes, which go on with the next job of the same structure.

    compose every job
    while jobs run or wait:
        hand the next to a worker         one that has its program compiled already, or a new one; n_jobs at a time
        hand on the first Ctrl-C          the jobs save and stop
        kill who takes too long
        tell who has ended                a worker that dies takes its own job with it, and no other

Nothing of TensorFlow's runtime starts in this process, or the children would hang.
"""

from __future__ import annotations

import contextlib
import copy
import json
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from tfrun.compose import plain
from tfrun.errors import Interrupted, SweepError, TfrunError
from tfrun.sweep.job import ENDED, SIGNALS, JobFolder, Task, Worker, objective, redirect_output
from tfrun.sweep.table import Board, read_outcome

POLL_SECONDS = 0.005
WITH_INPUTS = ("loss", "optimizer", "algorithm", "trainer")  # whose floats are inputs of the program


def compose_job(loader: ConfigLoader, sweep: DictConfig, overrides: Sequence[str], number: int) -> DictConfig:
    """Returns the config of one job, with its `hydra` node."""
    cfg = loader.load_sweep_config(sweep, list(overrides))
    with read_write(cfg.hydra), open_dict(cfg.hydra):
        cfg.hydra.job.id = cfg.hydra.job.num = number
        cfg.hydra.overrides.task = [text.lstrip("+") for text in overrides]  # as people type them
    return cfg


def structure_of(cfg: DictConfig) -> str:
    """Returns a job's config but for what is an input of a program, or isn't part of it.

    It need not be exact: the engine looks again, and makes another program where one doesn't fit.
    """
    config = plain(OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]))
    for key in ("seed", "name", "tags", "output_root"):
        config.pop(key, None)
    for key in ("max_epochs", "max_steps", "max_seconds"):
        config["trainer"].pop(key, None)

    def without_floats(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_floats(own) for key, own in value.items()}
        return "a number" if isinstance(value, float) else value

    return json.dumps(
        {key: without_floats(own) if key in WITH_INPUTS else own for key, own in config.items()}, default=str
    )


@dataclass(frozen=True, eq=False)
class Job:
    """A job that is ready to run; those of one structure may share a program."""

    cfg: DictConfig
    folder: JobFolder
    label: str
    structure: str

    @property
    def overrides(self) -> list[str]:
        return list(self.cfg.hydra.overrides.task)


class ForkLauncher(Launcher):
    """Runs jobs in processes forked from this one, which has TensorFlow imported but never starts its runtime.

    Args:
        n_jobs: how many at the same time.
        timeout_seconds: what a job may take before it is killed; None is no limit.
    """

    def __init__(self, n_jobs: int = 1, timeout_seconds: float | None = None):
        self._num_jobs, self._timeout_seconds = n_jobs, timeout_seconds

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        assert isinstance(task_function, Task)
        self._context, self._task, self._config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs jobs and returns what Hydra's sweepers want to know of each.

        Raises:
            Interrupted: a signal came, and the jobs that ran have ended.
        """
        setup_globals()
        import tfrun.engine.experiment  # noqa: F401 - the children find it imported

        jobs = [self._job(overrides, initial_job_idx + index) for index, overrides in enumerate(job_overrides)]
        with _signals_put_into([]) as received, Board() as board:
            self._run_all(jobs, received, board)
        if received:
            end = "its jobs were killed" if len(received) > 1 else "the jobs that were training have saved"
            raise Interrupted(received[0], f"stopped by {signal.Signals(received[0]).name}: {end}")
        return [self._returned(job) for job in jobs]

    def _job(self, overrides: Sequence[str], number: int) -> Job:
        cfg = compose_job(self._context.config_loader, self._config, overrides, number)
        own = [text for text in cfg.hydra.overrides.task if text.partition("=")[0] in self._task.swept]
        folder = JobFolder(Path(self._config.hydra.sweep.dir) / str(number))
        return Job(cfg, folder, " ".join([f"#{number}", *own]), structure_of(cfg))

    def _run_all(self, jobs: Sequence[Job], received: Sequence[int], board: Board) -> None:
        waiting, workers = list(range(len(jobs))), list[Worker]()
        try:
            while any(worker.job is not None for worker in workers) or (waiting and not received):
                if not received:
                    self._hand_out(jobs, waiting, workers)
                for worker in list(workers):
                    late = self._watch(worker, received)
                    code = worker.answer()
                    if code is None and worker.child.has_ended():
                        code = worker.child.exit_code or 0
                    if code is None:
                        continue
                    if worker.job is not None:
                        job, worker.job = jobs[worker.job], None
                        self._settle(job, code, late)
                        board.ended(read_outcome(job.folder, self._task.swept), time.monotonic() - worker.started)
                    if code or worker.child.exit_code is not None:  # what a failure leaves behind is nobody's to find
                        worker.dismiss()
                        workers.remove(worker)
                now = time.monotonic()
                board.show({jobs[own.job].label: now - own.started for own in workers if own.job is not None})
                time.sleep(POLL_SECONDS)
        finally:
            for worker in workers:
                worker.dismiss()

    def _hand_out(self, jobs: Sequence[Job], waiting: list[int], workers: list[Worker]) -> None:
        """Starts waiting jobs while fewer than n_jobs run."""
        while waiting and sum(worker.job is not None for worker in workers) < self._num_jobs:
            idle = [worker for worker in workers if worker.job is None]
            pairs = ((worker, job) for worker in idle for job in waiting if jobs[job].structure == worker.structure)
            worker, job = next(pairs, (None, waiting[0]))
            jobs[job].folder.path.mkdir()
            if worker is None:
                for other in idle:  # there is nothing left that they are for
                    other.dismiss()
                    workers.remove(other)
                worker = Worker(lambda number: self._run(jobs[number]), jobs[job].folder.log, jobs[job].structure)
                workers.append(worker)
            waiting.remove(job)
            worker.start(job)

    def _watch(self, worker: Worker, received: Sequence[int]) -> bool:
        """Hands on signals, and ends a worker whose job takes too long; returns whether it does."""
        if worker.job is None:
            return False
        late = bool(self._timeout_seconds and time.monotonic() - worker.started > self._timeout_seconds)
        if received:
            worker.child.send(received[0])
        if late or len(received) > 1:
            worker.child.kill()
        return late

    def _run(self, job: Job) -> int:
        """Runs a job in the child and returns its exit code."""
        redirect_output(job.folder.log)
        done = run_job(
            task_function=self._task,
            config=job.cfg,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            hydra_context=self._context,
            configure_logging=False,  # a run's log is set up by tfrun.console
        )
        if done.status == JobStatus.COMPLETED:
            return 0
        error = done._return_value
        exit_code = error.exit_code if isinstance(error, TfrunError) else 1
        if job.folder.read_run().get("status") not in ENDED:  # else the run has told and logged it
            job.folder.fail(job.overrides, type(error).__name__, str(error), exit_code)
            traceback.print_exception(error)
        return exit_code

    def _settle(self, job: Job, code: int, late: bool) -> None:
        """Writes the end of a job that had no chance to."""
        if job.folder.read_run().get("status") in ENDED:
            return
        if late:
            kind, message = "TimeoutError", f"not done in hydra.launcher.timeout_seconds={self._timeout_seconds:g}"
        elif code < 0:
            kind, message = "Killed", f"killed by {signal.Signals(-code).name}"
        else:
            kind, message = "Exited", f"the process ended with exit code {code} before the run did"
        job.folder.fail(job.overrides, kind, message, code if code > 0 else 1)

    def _returned(self, job: Job) -> JobReturn:
        run, cfg = job.folder.read_run(), copy.deepcopy(job.cfg)
        with open_dict(cfg), read_write(cfg):
            hydra = OmegaConf.create({"hydra": cfg.pop("hydra")})
        completed = run["status"] == "completed"
        result: Any = objective(run) if completed else SweepError(f"job {job.folder.path.name} {run['status']}")
        status = JobStatus.COMPLETED if completed else JobStatus.FAILED
        return _Return(job.overrides, cfg, hydra, str(Path.cwd()), "tfrun", status, result)


def register() -> None:
    """Has Hydra take the launcher, though it takes plugins from a package named `hydra_plugins` alone."""
    plugins, ours = Plugins.instance(), f"{ForkLauncher.__module__}.{ForkLauncher.__name__}"
    theirs = plugins.is_in_toplevel_plugins_module
    plugins.register(ForkLauncher)
    plugins.is_in_toplevel_plugins_module = lambda clazz: clazz == ours or theirs(clazz)  # type: ignore[method-assign]


class _Return(JobReturn):
    """Raises a failed job's error without a line on the terminal: the job's own has been there already."""

    @property  # type: ignore[misc]
    def return_value(self) -> Any:
        if self.status == JobStatus.FAILED:
            raise self._return_value
        return self._return_value


@contextlib.contextmanager
def _signals_put_into(received: list[int]) -> Iterator[list[int]]:
    earlier = [signal.signal(number, lambda number, _: received.append(number)) for number in SIGNALS]
    try:
        yield received
    finally:
        for number, handler in zip(SIGNALS, earlier, strict=True):
            signal.signal(number, handler)
