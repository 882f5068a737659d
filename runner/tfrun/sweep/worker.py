"""A forked process that runs a sweep's jobs, and how the process that forked it talks to it."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from tfrun.config.catalog import Catalog
from tfrun.console import library_output_to
from tfrun.sweep.jobs import Job
from tfrun.sweep.task import train, train_together

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PRUNE = signal.SIGUSR1
PR_SET_PDEATHSIG = 1
TOLD_SECONDS = 0.1  # between two messages of how far a job is


@dataclass
class Child:
    """A forked process.

    Attributes:
        pid: its id, and that of its session and process group.
        exit_code: once it has ended; negative is the signal that ended it.
    """

    pid: int
    exit_code: int | None = None
    signalled: bool = False

    def has_ended(self) -> bool:
        """Returns whether it has ended, without waiting."""
        if self.exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_code = os.waitstatus_to_exitcode(status)
        return self.exit_code is not None

    def wait(self) -> None:
        """Returns once it has ended."""
        if self.exit_code is None:
            self.exit_code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def send(self, number: int) -> None:
        """Sends it the first signal only: the second would end it without saving."""
        if not self.signalled:
            self.signalled = True
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends it, and whatever it has started, and waits for its end."""
        if self.exit_code is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has no group of its own yet
                os.kill(self.pid, signal.SIGKILL)
            self.wait()


@dataclass(frozen=True)
class Step:
    """How far a job is, after a block of steps or at an epoch's end; `last_step` is None where only time ends it."""

    job: int
    step: int
    last_step: int | None
    epoch: int
    values: Mapping[str, float]
    ends_epoch: bool


@dataclass(frozen=True)
class Done:
    """A job's end, and its exit code."""

    job: int
    exit_code: int


class Worker:
    """A forked process that runs one job after another: those of one structure share a compiled program in it.

    Args:
        first: the first job that it is for; all that follow have its structure.
        catalog: the components.
        environment: variables that it has in addition.
    """

    def __init__(self, first: Job, catalog: Catalog, environment: Mapping[str, str]):
        self.structure, self.environment = first.structure, environment
        self.jobs: dict[int, Job] = {}
        self.started, self.has_failed = 0.0, False
        self.connection, theirs = Pipe()
        self.child = fork(lambda: _serve(theirs, catalog, environment), first.folder.log)
        theirs.close()

    def start(self, jobs: Sequence[Job]) -> None:
        """Hands it a job, or several to be trained together."""
        self.jobs, self.started = {job.number: job for job in jobs}, time.monotonic()
        with contextlib.suppress(OSError):  # it has ended, as will be seen
            self.connection.send(jobs)

    def messages(self) -> list[Step | Done]:
        """Returns what it has told since the last time; its end is a message about each of its jobs."""
        told: list[Step | Done] = []
        ended = self.child.has_ended()
        try:
            while self.connection.poll():
                told.append(self.connection.recv())
        except (EOFError, OSError):
            self.child.wait()
            ended = True
        if ended:
            done = {message.job for message in told if isinstance(message, Done)}
            told += [Done(number, self.child.exit_code or 0) for number in self.jobs if number not in done]
        return told

    def dismiss(self) -> None:
        """Ends it, with its jobs if it has any."""
        self.child.kill()
        self.connection.close()


def _serve(connection: Connection, catalog: Catalog, environment: Mapping[str, str]) -> int:
    os.environ.update(environment)
    pruned: list[int] = []
    signal.signal(PRUNE, lambda number, _: pruned.append(number))
    while True:
        try:
            jobs: list[Job] = connection.recv()
        except EOFError:
            return 0
        pruned.clear()
        if len(jobs) > 1:
            _run_together(jobs, catalog, connection)
        else:
            _run(jobs[0], catalog, connection, lambda: bool(pruned))


def _run(job: Job, catalog: Catalog, connection: Connection, is_pruned: Callable[[], bool]) -> None:
    redirect_output(job.folder.log)
    tell, error = _teller(job, connection), None
    try:
        if job.resume and job.folder.has_ended:
            job.folder.write_run(job.folder.read_run() | {"status": "running"})
        job.write_files()
        train(job, catalog, tell, is_pruned)
    except (Exception, KeyboardInterrupt) as caught:
        error = caught
    connection.send(Done(job.number, job.folder.end(job.overrides, error) if error else 0))


def _run_together(jobs: Sequence[Job], catalog: Catalog, connection: Connection) -> None:
    tellers, left = [_teller(job, connection) for job in jobs], dict(enumerate(jobs))

    def ended(k: int, error: BaseException | None) -> None:
        job = left.pop(k)
        with output_to(job.folder.log):
            connection.send(Done(job.number, job.folder.end(job.overrides, error) if error else 0))

    try:
        for job in jobs:
            job.write_files()
        train_together(
            jobs,
            catalog,
            report=lambda k, *at: tellers[k](*at),
            on_end=ended,
            context=lambda k: output_to(jobs[k].folder.log),
        )
    except (Exception, KeyboardInterrupt) as error:
        for k in list(left):
            ended(k, error)


def _teller(job: Job, connection: Connection) -> Callable[..., None]:
    """Returns what tells of a job's steps, not of each."""
    told = 0.0

    def tell(*at: Any) -> None:
        nonlocal told
        message = Step(job.number, *at)
        if message.ends_epoch or time.monotonic() - told > TOLD_SECONDS:
            told = time.monotonic()
            connection.send(message)

    return tell


@contextlib.contextmanager
def output_to(log: Path) -> Iterator[None]:
    """Sends to a job's log what is said meanwhile, by it and by libraries."""
    redirect_output(log)
    with library_output_to(log):
        yield


def fork(run: Callable[[], int], log: Path) -> Child:
    """Forks a process that calls `run` and exits with what it returns; its output goes to `log`.

    TensorFlow may be imported, but its runtime must not have started: forked then, the first tensor hangs.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the child has let go of the parent's handlers
    try:
        pid = os.fork()
        if pid == 0:
            _live(run, log, parent)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return Child(pid)


def _live(run: Callable[[], int], log: Path, parent: int) -> NoReturn:
    """Is the child's life, from the fork to its end."""
    exit_code: Any = 1
    try:
        os.setsid()  # so that Ctrl-C in the terminal reaches the parent alone, which hands it on
        _die_with(parent)
        redirect_output(log)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        exit_code = run()
    except SystemExit as error:
        exit_code = error.code or 0
        traceback.print_exc()  # nobody expects it of a component, so say where
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(exit_code if isinstance(exit_code, int) else 1)  # no exit handlers: they are the parent's


def _die_with(parent: int) -> None:
    """Has the kernel kill this process when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def redirect_output(log: Path) -> None:
    """Sends all that this process says from now on to the end of a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    # by number, as TensorFlow's own logger holds on to the sys.stderr that it was imported under
    for number in {1, 2, sys.stdout.fileno(), sys.stderr.fileno()}:
        os.dup2(file, number)
    os.close(file)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    logging.getLogger().handlers.clear()
