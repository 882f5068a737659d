"""Runs a sweep's jobs in forked worker processes, which run further jobs of the same structure.

    while jobs run or the source gives more:
        start jobs on free workers          one that has compiled the structure's program, or a new one; up to n_jobs
        pass on signals                     after the first Ctrl-C, the jobs save and stop
        kill jobs that take too long
        receive the workers' messages       progress and ends; a worker that dies ends no other job than its own
        let the source do what is due       heartbeats in a study that several machines share

TensorFlow's runtime must not start in this process, otherwise the children hang.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait

from tfrun.config.catalog import Catalog
from tfrun.errors import Interrupted, TfrunError
from tfrun.host_cores import NUM_THREADS
from tfrun.stop_signals import is_repeated, stop_signals
from tfrun.sweep.board import Board
from tfrun.sweep.jobs import Job
from tfrun.sweep.ledger import Ledger
from tfrun.sweep.messages import Done, Progress
from tfrun.sweep.num_workers import VISIBLE_GPUS, threads_per_job, visible_gpus
from tfrun.sweep.outcome import Outcome, read_outcome
from tfrun.sweep.source import Source
from tfrun.sweep.sweep_settings import LauncherSettings
from tfrun.sweep.task import write_hparams_row
from tfrun.sweep.worker import Worker

POLL_SECONDS = 0.1
SAVE_SECONDS = 120  # the longest time that jobs have to save if the source fails


class Pool:
    """Runs jobs in worker processes.

    Args:
        catalog: the components.
        ledger: receives the state of each job.
        num_workers: how many run at the same time.
        settings: the time limit of a job, and how many jobs a worker trains together.
        mode: `min` or `max`: which monitored value is best.
    """

    def __init__(self, catalog: Catalog, ledger: Ledger, *, num_workers: int, settings: LauncherSettings, mode: str):
        self.ledger = ledger
        self.mode = mode
        self._catalog = catalog
        self._num_workers = num_workers
        self._settings = settings
        self._workers: list[Worker] = []
        self._timed_out: set[int] = set()  # numbers of jobs

    def run(self, source: Source) -> None:
        """Runs all jobs of a source.

        Raises:
            Interrupted: a signal stopped the sweep, and the running jobs have ended.
        """
        import tfrun.engine.experiment  # noqa: F401 - so that the children needn't import it

        stopping = _signals_appended_to([], on_first=self._stop_running)
        with stopping as received, Board(source.total, self.mode) as board:
            try:
                self._say_news(source, board)
                while self._start_jobs(source, received, board=board) or self._running:
                    self._pass_on_signals(received)
                    self._kill_late_workers()
                    wait([worker.connection for worker in self._running], POLL_SECONDS)
                    for worker in self._running:
                        for message in worker.messages():
                            self._receive(message, worker, source=source, board=board)
                    source.tick()
                    self._say_news(source, board)
                    board.set_total(source.total)
                    board.draw()
            except TfrunError:  # the study's database, for example, can't be reached any more
                self._save_running()
                raise
            finally:
                for worker in self._workers:
                    worker.dismiss()
        if received:
            end = "its jobs were killed" if len(received) > 1 else "the jobs that were training have saved"
            raise Interrupted(received[0], f"stopped by {signal.Signals(received[0]).name}: {end}")

    @property
    def _running(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.jobs]

    def _say_news(self, source: Source, board: Board) -> None:
        for line in source.news():
            board.say(line)

    def _start_jobs(self, source: Source, received: Sequence[int], *, board: Board) -> bool:
        """Starts jobs while fewer than `num_workers` workers are busy; returns whether any was started."""
        started = False
        while not received and (num_free := self._num_workers - len(self._running)) > 0:
            self._dismiss_dead_workers()
            job = source.next({worker.structure for worker in self._workers if not worker.jobs})
            if job is None:
                break
            jobs = [job]
            if self._settings.lanes > 1:
                jobs += source.more_like(job, lanes=self._settings.lanes, workers=num_free)
            for new in jobs:
                new.folder.path.mkdir(exist_ok=True)
            worker = self._worker_for(job)
            for new in jobs:
                self.ledger.record_state(new.number, "running")
                board.add_job(new)
            worker.start(jobs)
            started = True
        return started

    def _worker_for(self, job: Job) -> Worker:
        """Returns an idle worker of the job's structure, or else a new one."""
        idle = [worker for worker in self._workers if not worker.jobs]
        for worker in idle:
            if worker.structure == job.structure:
                return worker
        if len(self._workers) >= self._num_workers:
            self._dismiss(idle[0])  # the oldest
        worker = Worker.fork(job, self._catalog, environment=self._next_environment())
        self._workers.append(worker)
        return worker

    def _next_environment(self) -> dict[str, str]:
        """Returns the variables of a new worker: its share of the cores, and a GPU that the fewest workers use."""
        used = [worker.environment.get(VISIBLE_GPUS) for worker in self._workers]
        gpus = visible_gpus()
        share = threads_per_job(self._num_workers)
        of_cores = {} if share is None else {NUM_THREADS: str(share)}
        return of_cores | ({VISIBLE_GPUS: min(gpus, key=used.count)} if gpus else {})

    def _stop_running(self, number: int) -> None:
        """Sends a signal to all running workers, also while this process waits for a database that doesn't answer."""
        for worker in self._running:
            worker.child.send(number)

    def _pass_on_signals(self, received: Sequence[int]) -> None:
        """Sends the first signal to all running workers; a second one kills them."""
        if received:
            self._stop_running(received[0])  # those too that began meanwhile
        if len(received) > 1:
            for worker in self._running:
                worker.child.kill()

    def _kill_late_workers(self) -> None:
        limit = self._settings.timeout_seconds
        for worker in self._running:
            if limit is not None and time.monotonic() - worker.started > limit:
                self._timed_out |= worker.jobs.keys()
                worker.child.kill()

    def _save_running(self) -> None:
        """Lets the running jobs save and stop, without telling the source."""
        self._stop_running(signal.SIGTERM)
        deadline = time.monotonic() + SAVE_SECONDS
        while self._running and time.monotonic() < deadline:
            wait([worker.connection for worker in self._running], POLL_SECONDS)
            for worker in self._running:
                for message in worker.messages():
                    if isinstance(message, Done) and message.job in worker.jobs:
                        self._record_end(worker.jobs.pop(message.job), message)

    def _receive(self, message: Progress | Done, worker: Worker, *, source: Source, board: Board) -> None:
        job = worker.jobs.get(message.job)
        if job is None:
            return
        if isinstance(message, Progress):
            board.set_progress(job, message)
            if source.should_prune(job, message):
                worker.prune()
            return
        del worker.jobs[job.number]
        worker.has_failed |= message.exit_code != 0
        outcome = self._record_end(job, message)
        source.ended(job, outcome)
        board.end_job(job, outcome)
        if not worker.jobs and (worker.has_failed or worker.child.has_ended()):
            self._dismiss(worker)  # a process in which a job failed is never used again

    def _record_end(self, job: Job, message: Done) -> Outcome:
        """Writes how a job has ended, where it couldn't do so itself, and returns it."""
        self._write_missing_end(job, message.exit_code)
        outcome = read_outcome(job.folder, job.hparams)
        if outcome.status in ("failed", "diverged") and job.settings.logger:
            write_hparams_row(job, outcome.status)
        self.ledger.record_end(job.number, outcome.status, value=outcome.value)
        return outcome

    def _dismiss(self, worker: Worker) -> None:
        worker.dismiss()
        self._workers.remove(worker)

    def _dismiss_dead_workers(self) -> None:
        """Dismisses idle workers that were killed from outside."""
        for worker in [worker for worker in self._workers if not worker.jobs and worker.child.has_ended()]:
            self._dismiss(worker)

    def _write_missing_end(self, job: Job, exit_code: int) -> None:
        """Writes the end of a job whose process ended before it could."""
        if job.folder.has_ended:
            return
        if job.number in self._timed_out:
            kind = "TimeoutError"
            message = f"took longer than hydra.launcher.timeout_seconds={self._settings.timeout_seconds:g}"
        elif exit_code < 0:
            kind = "Killed"
            message = f"killed by {signal.Signals(-exit_code).name}"
        else:
            kind = "Exited"
            message = f"the process ended with exit code {exit_code} before the run did"
        job.folder.write_failure(job.overrides, kind=kind, message=message, exit_code=max(exit_code, 0) or 1)


@contextlib.contextmanager
def _signals_appended_to(received: list[int], *, on_first: Callable[[int], None]) -> Iterator[list[int]]:
    """Appends stop signals to a list instead of ending the process, and calls `on_first` with the first one."""

    def receive(number: int, _: object) -> None:
        if not is_repeated(number, received):
            received.append(number)
            if len(received) == 1:
                on_first(number)

    numbers = stop_signals()
    earlier = [signal.signal(number, receive) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, earlier, strict=True):
            signal.signal(number, handler)
