"""Worker processes: each is forked from the sweep's process and runs one job after another."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from tfrun.config.catalog import Catalog
from tfrun.sweep.child import Child, output_to, redirect_output
from tfrun.sweep.jobs import Job
from tfrun.sweep.messages import Done, Progress
from tfrun.sweep.task import train, train_together

PRUNE = "prune"  # the message that asks a worker to stop its job
PROGRESS_SECONDS = 0.1  # the shortest time between two Progress messages, except at the end of an epoch


class Worker:
    """A forked process for jobs of one structure, which share a compiled program in it.

    Attributes:
        structure: of all its jobs.
        environment: the environment variables that it has in addition to its parent's.
        jobs: those that it is running, by number.
        started: when it got them, on the monotonic clock.
        has_failed: whether one of its jobs has failed.
    """

    def __init__(self, child: Child, connection: Connection, *, structure: str, environment: Mapping[str, str]):
        self.child = child
        self.connection = connection
        self.structure = structure
        self.environment = environment
        self.jobs: dict[int, Job] = {}
        self.started = 0.0
        self.has_failed = False

    @classmethod
    def fork(cls, first: Job, catalog: Catalog, *, environment: Mapping[str, str]) -> Worker:
        """Forks a worker for the jobs of `first`'s structure; its output goes to the log of the job that it runs."""
        connection, child_connection = Pipe()
        child = Child.fork(lambda: _serve(child_connection, catalog, environment), first.folder.log)
        child_connection.close()
        return cls(child, connection, structure=first.structure, environment=environment)

    def start(self, jobs: Sequence[Job]) -> None:
        """Sends it a job, or several to be trained together."""
        self.jobs = {job.number: job for job in jobs}
        self.started = time.monotonic()
        with contextlib.suppress(OSError):  # it has ended, which `messages` finds out
            self.connection.send(jobs)

    def messages(self) -> list[Progress | Done]:
        """Returns the messages that have arrived. If it has ended, there is a Done for each job that it was running."""
        messages: list[Progress | Done] = []
        ended = self.child.has_ended()
        try:
            while self.connection.poll():
                messages.append(self.connection.recv())
        except (EOFError, OSError):
            self.child.wait()
            ended = True
        if ended:
            done = {message.job for message in messages if isinstance(message, Done)}
            messages += [Done(number, self.child.exit_code or 0) for number in self.jobs if number not in done]
        return messages

    def prune(self) -> None:
        """Asks it to stop its job after the current block."""
        with contextlib.suppress(OSError):  # it has ended, which `messages` finds out
            self.connection.send(PRUNE)

    def dismiss(self) -> None:
        """Ends it and the jobs that it is running."""
        self.child.kill()
        self.connection.close()


def _serve(connection: Connection, catalog: Catalog, environment: Mapping[str, str]) -> int:
    """Runs the jobs that arrive, in the child, until the parent closes the connection; returns the exit code."""
    os.environ.update(environment)
    while True:
        try:
            jobs: list[Job] | str = connection.recv()
        except EOFError:
            return 0
        if isinstance(jobs, str):  # PRUNE, for a job that had ended already
            continue
        if len(jobs) > 1:
            _run_together(jobs, catalog, connection)
        else:
            _run(jobs[0], catalog, connection, is_pruned=_prune_requests(connection))


def _prune_requests(connection: Connection) -> Callable[[], bool]:
    """Returns a function that says whether the parent has asked to stop the job that is running."""
    received: list[str] = []

    def is_pruned() -> bool:
        try:
            while connection.poll():
                received.append(connection.recv())  # nothing else is sent while a job runs
        except (EOFError, OSError):  # the parent was killed: the job hasn't failed, it will be resumed
            os._exit(1)
        return bool(received)

    return is_pruned


def _run(job: Job, catalog: Catalog, connection: Connection, *, is_pruned: Callable[[], bool]) -> None:
    redirect_output(job.folder.log)
    caught: BaseException | None = None
    try:
        job.reopen()
        job.write_files()
        train(job, catalog, report=_ProgressReport(job, connection), is_pruned=is_pruned, ends_at_once=False)
    except (Exception, KeyboardInterrupt) as error:
        caught = error
    _send_done(job, connection, error=caught)


def _run_together(jobs: Sequence[Job], catalog: Catalog, connection: Connection) -> None:
    reports = [_ProgressReport(job, connection) for job in jobs]
    remaining = dict(enumerate(jobs))

    def end(k: int, error: BaseException | None) -> None:
        job = remaining.pop(k)
        with output_to(job.folder.log):
            _send_done(job, connection, error=error)

    try:
        for job in jobs:
            job.write_files()
        train_together(jobs, catalog, reports=reports, on_end=end, context=lambda k: output_to(jobs[k].folder.log))
    except (Exception, KeyboardInterrupt) as error:
        for k in list(remaining):
            end(k, error)


def _send_done(job: Job, connection: Connection, *, error: BaseException | None) -> None:
    """Sends that a job has ended, after its folder says so."""
    exit_code = job.folder.write_error(job.overrides, error) if error else 0
    connection.send(Done(job.number, exit_code))


class _ProgressReport:
    """Sends a job's progress to the parent: each end of an epoch, and other blocks at most every 0.1 s."""

    def __init__(self, job: Job, connection: Connection):
        self._number = job.number
        self._connection = connection
        self._sent = 0.0

    def __call__(
        self, step: int, last_step: int | None, epoch: int, values: Mapping[str, float], ends_epoch: bool
    ) -> None:
        if ends_epoch or time.monotonic() - self._sent > PROGRESS_SECONDS:
            self._sent = time.monotonic()
            self._connection.send(Progress(self._number, step, last_step, epoch, values, ends_epoch))
