"""Runs a sweep's jobs in forked processes, which go on with the next job of the same structure.

    while jobs run or are to come:
        hand the next to a worker         one that has its program compiled already, or a new one; n_jobs at a time
        hand on the first Ctrl-C          the jobs save and stop
        kill who takes too long
        hear what the workers tell        how far they are; a worker that dies takes its own job with it, and no other

Nothing of TensorFlow's runtime starts in this process, or the children would hang.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Protocol

from tfrun.config.catalog import Catalog
from tfrun.errors import Interrupted
from tfrun.sweep.board import Board, Outcome, read_outcome
from tfrun.sweep.estimate import remember
from tfrun.sweep.jobs import Job
from tfrun.sweep.ledger import Ledger
from tfrun.sweep.worker import PRUNE, SIGNALS, Done, Step, Worker

POLL_SECONDS = 0.1
REMEMBERED = 3  # jobs of a structure, the last of which counts
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


class Source(Protocol):
    """Where jobs come from: a list of all of them, or a search that makes them up as it goes."""

    def next(self, structures: Collection[str]) -> Job | None:
        """Returns the next job, best one of the given structures; None where there is none now."""

    def like(self, job: Job, lanes: int, workers: int) -> list[Job]:
        """Returns more jobs, to be trained together with this one: at most `lanes` in all, a worker's share of them."""

    def told(self, job: Job, step: Step) -> bool:
        """Takes how far a job is, and returns whether to give it up."""

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Takes a job's end, or that it has come to where it was to pause."""

    def lines(self) -> list[str]:
        """Returns what there is to tell a person since it was asked the last time."""

    @property
    def total(self) -> int | None:
        """How many jobs there are in all, where that is known."""


class Grid:
    """Jobs that are all known before the first one runs; what they took is remembered for the next such grid."""

    def __init__(self, jobs: Sequence[Job]):
        self._waiting, self.total = list(jobs), len(jobs)
        self._started: dict[int, float] = {}
        self._together: dict[int, int] = {}  # jobs
        self._ended: Counter[str] = Counter()  # jobs of a structure

    def next(self, structures: Collection[str]) -> Job | None:
        known = (job for job in self._waiting if job.structure in structures)
        job = next(known, self._waiting[0] if self._waiting else None)
        if job is not None:
            self._waiting.remove(job)
            self._started[job.number] = time.monotonic()
        return job

    def like(self, job: Job, lanes: int, workers: int) -> list[Job]:
        alike = [other for other in self._waiting if job.is_like(other)]
        alike = alike[: min(lanes, -(-(1 + len(alike)) // workers)) - 1]
        for other in alike:
            self._waiting.remove(other)
        for own in (job, *alike):
            self._started[own.number], self._together[own.number] = time.monotonic(), 1 + len(alike)
        return alike

    def told(self, job: Job, step: Step) -> bool:
        return False

    def ended(self, job: Job, outcome: Outcome) -> None:
        self._ended[job.structure] += 1  # the first one compiles, so that some more are looked at
        if outcome.status == "completed" and self._ended[job.structure] <= REMEMBERED:
            seconds = time.monotonic() - self._started[job.number]
            remember(job, seconds / self._together.get(job.number, 1))

    def lines(self) -> list[str]:
        return []


class Pool:
    """Runs jobs, n_jobs at a time.

    Args:
        catalog: the components.
        ledger: takes each job's state.
        num_jobs: how many at the same time.
        timeout_seconds: what a job may take before it is killed; None is no limit.
        mode: `min` or `max`, what is best of the monitored value.
        lanes: how many jobs a worker trains together, at most.
    """

    def __init__(
        self,
        catalog: Catalog,
        ledger: Ledger,
        num_jobs: int,
        timeout_seconds: float | None,
        mode: str,
        lanes: int = 1,
    ):
        self._catalog, self.ledger, self._lanes = catalog, ledger, lanes
        self.num_jobs, self._timeout_seconds, self.mode = num_jobs, timeout_seconds, mode
        self._workers: list[Worker] = []
        self._late: set[int] = set()

    def run(self, source: Source) -> None:
        """Runs all that a source gives.

        Raises:
            Interrupted: a signal came, and the jobs that ran have ended.
        """
        import tfrun.engine.experiment  # noqa: F401 - the children find it imported

        with _signals_put_into([]) as received, Board(source.total, self.mode) as board:
            try:
                while self._hand_out(source, received, board) or self._running:
                    self._watch(received)
                    wait([worker.connection for worker in self._running], POLL_SECONDS)
                    for worker in self._running:
                        for message in worker.messages():
                            self._hear(worker, message, source, board)
                    for line in source.lines():
                        board.say(line)
                    board.draw()
            finally:
                for worker in self._workers:
                    worker.dismiss()
        if received:
            end = "its jobs were killed" if len(received) > 1 else "the jobs that were training have saved"
            raise Interrupted(received[0], f"stopped by {signal.Signals(received[0]).name}: {end}")

    @property
    def _running(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.jobs]

    def _hand_out(self, source: Source, received: Sequence[int], board: Board) -> bool:
        """Starts jobs while fewer than n_jobs run; returns whether any was started."""
        started = False
        while not received and len(self._running) < self.num_jobs:
            idle = [worker for worker in self._workers if not worker.jobs]
            for ended in [worker for worker in idle if worker.child.has_ended()]:  # killed from outside
                self._dismiss(ended)
                idle.remove(ended)
            job = source.next({worker.structure for worker in idle})
            if job is None:
                break
            free = self.num_jobs - len(self._running)
            jobs = [job, *source.like(job, self._lanes, free)] if self._lanes > 1 else [job]
            for own in jobs:
                own.folder.path.mkdir(exist_ok=True)
            worker = next((worker for worker in idle if worker.structure == job.structure), None)
            if worker is None:
                if len(self._workers) >= self.num_jobs:  # the one that has waited longest
                    self._dismiss(idle[0])
                worker = Worker(job, self._catalog, self._environment())
                self._workers.append(worker)
            for own in jobs:
                self.ledger.note(own.number, "running")
                board.started(own)
            worker.start(jobs)
            started = True
        return started

    def _environment(self) -> dict[str, str]:
        """Returns what says which GPU a new worker has: each its own, where there are enough."""
        used = [worker.environment.get(VISIBLE_GPUS) for worker in self._workers]
        gpus = _gpus()
        return {VISIBLE_GPUS: min(gpus, key=used.count)} if gpus else {}

    def _watch(self, received: Sequence[int]) -> None:
        """Hands on signals, and ends jobs that take too long."""
        for worker in self._running:
            if received:
                worker.child.send(received[0])
            late = bool(self._timeout_seconds and time.monotonic() - worker.started > self._timeout_seconds)
            if late:
                self._late |= worker.jobs.keys()
            if late or len(received) > 1:
                worker.child.kill()

    def _hear(self, worker: Worker, message: Step | Done, source: Source, board: Board) -> None:
        job = worker.jobs.get(message.job)
        if job is None:
            return
        if isinstance(message, Step):
            board.told(job, message)
            if source.told(job, message) and worker.child.exit_code is None:
                os.kill(worker.child.pid, PRUNE)
            return
        del worker.jobs[job.number]
        worker.has_failed |= message.exit_code != 0
        self._settle(job, message.exit_code)
        outcome = read_outcome(job.folder, job.hparams)
        if outcome.status in ("failed", "diverged") and job.settings.logger:
            write_row(job, outcome.status)
        self.ledger.note(job.number, outcome.status, value=outcome.value)
        source.ended(job, outcome)
        board.ended(job, outcome)
        if not worker.jobs and (worker.has_failed or worker.child.has_ended()):
            self._dismiss(worker)  # what a failure leaves behind is nobody's to find

    def _dismiss(self, worker: Worker) -> None:
        worker.dismiss()
        self._workers.remove(worker)

    def _settle(self, job: Job, code: int) -> None:
        """Writes the end of a job that had no chance to."""
        if job.folder.has_ended:
            return
        if job.number in self._late:
            kind, message = "TimeoutError", f"not done in hydra.launcher.timeout_seconds={self._timeout_seconds:g}"
        elif code < 0:
            kind, message = "Killed", f"killed by {signal.Signals(-code).name}"
        else:
            kind, message = "Exited", f"the process ended with exit code {code} before the run did"
        job.folder.fail(job.overrides, kind, message, code if code > 0 else 1)


def _gpus() -> list[str]:
    """Returns the GPUs that there are to share out: NVIDIA's, but for those that the user has taken out."""
    if VISIBLE_GPUS in os.environ:
        return [name for name in os.environ[VISIBLE_GPUS].split(",") if name]
    return sorted((path.name[6:] for path in Path("/dev").glob("nvidia[0-9]*")), key=int)


def write_row(job: Job, status: str) -> None:
    """Gives a job that failed or was given up its row in TensorBoard's HParams table, which it didn't write itself."""
    from tfrun.engine.recording.tensorboard import TensorBoard, summary_metrics

    run, board = job.folder.read_run(), TensorBoard(job.folder.tensorboard)
    with contextlib.suppress(OSError):  # the disk may be what it failed of
        board.write_hparams(job.folder.run_id, job.hparams, summary_metrics(run["metrics"], run["best"]), status)
        board.close()


@contextlib.contextmanager
def _signals_put_into(received: list[int]) -> Iterator[list[int]]:
    earlier = [signal.signal(number, lambda number, _: received.append(number)) for number in SIGNALS]
    try:
        yield received
    finally:
        for number, handler in zip(SIGNALS, earlier, strict=True):
            signal.signal(number, handler)
