"""Forked processes: starting, signalling and ending one, and where its output goes."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tfrun.console import library_output_to, open_log
from tfrun.stop_signals import STOP_SIGNALS, stop_signals

PR_SET_PDEATHSIG = 1  # of Linux' prctl


@dataclass
class Child:
    """A forked process.

    Attributes:
        pid: the id of the process, and of its session and process group.
        exit_code: None while it runs; a negative number is the signal that ended it.
        is_signalled: whether `send` has sent it a signal.
    """

    pid: int
    exit_code: int | None = None
    is_signalled: bool = False

    @classmethod
    def fork(cls, run: Callable[[], int], log: Path) -> Child:
        """Forks a process that calls `run` and exits with the code that it returns; its output goes to `log`.

        TensorFlow may be imported, but its runtime must not have started: otherwise the child hangs at its first
        tensor.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # until the child has removed the parent's handlers
        try:
            pid = os.fork()
            if pid == 0:
                _run_as_child(run, log, parent)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        return cls(pid)

    def has_ended(self) -> bool:
        """Returns whether it has ended, without waiting."""
        if self.exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_code = os.waitstatus_to_exitcode(status)
        return self.exit_code is not None

    def wait(self) -> None:
        """Waits until it has ended."""
        if self.exit_code is None:
            self.exit_code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def send(self, number: int) -> None:
        """Sends it the first signal only: a second one would end it without saving."""
        if not self.is_signalled:
            self.is_signalled = True
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it and all processes that it has started, and waits for its end."""
        if self.exit_code is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has no group of its own yet
                os.kill(self.pid, signal.SIGKILL)
            self.wait()


def _run_as_child(run: Callable[[], int], log: Path, parent: int) -> NoReturn:
    """Calls `run` in the forked child and ends the process; never returns."""
    exit_code: Any = 1
    try:
        os.setsid()  # so that Ctrl-C in the terminal reaches only the parent, which passes it on
        _die_with(parent)
        redirect_output(log)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in set(stop_signals()) - {signal.SIGINT}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        exit_code = run()
    except SystemExit as error:
        exit_code = error.code or 0
        traceback.print_exc()  # a component should not exit, so the log says where it did
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(exit_code if isinstance(exit_code, int) else 1)  # without exit handlers, which are the parent's


def _die_with(parent: int) -> None:
    """Makes the kernel kill this process when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def redirect_output(log: Path) -> None:
    """Appends everything that this process prints from now on to a file, and closes its standard input."""
    file = open_log(log)
    # by descriptor, because TensorFlow's own logger keeps the sys.stderr of its import
    for number in {1, 2, sys.stdout.fileno(), sys.stderr.fileno()}:
        os.dup2(file, number)
    os.close(file)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    logging.getLogger().handlers.clear()


@contextlib.contextmanager
def output_to(log: Path) -> Iterator[None]:
    """Appends to a job's log what it and libraries print inside this context."""
    redirect_output(log)
    with library_output_to(log):
        yield
