"""Tries batch sizes, each in a forked process of its own, which may run out of memory.

A process that takes more than it may is killed before the kernel would kill it, or another one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from tfrun import host_memory
from tfrun.errors import ResourceError, TfrunError
from tfrun.sweep.child import Child

POLL_SECONDS = 0.02
RESERVE_BYTES = 2**28  # of free memory, and a share of all, that a try leaves to the rest of the machine
RESERVE_SHARE = 0.05
LAST_BYTES = 4000  # of the output of a process that died
BY_MEMORY = ("bad_alloc", "out of memory", "Out of memory", "OOM", "RESOURCE_EXHAUSTED", "cannot allocate memory")


@dataclass(frozen=True)
class Limit:
    """How much memory a try may take.

    Attributes:
        most_bytes: of its process; None is all that is free, except for a reserve.
        used_bytes: returns the memory of a process.
        free_bytes: returns the free memory.
    """

    most_bytes: float | None = None
    used_bytes: Callable[[int], float] = lambda pid: resident_bytes(pid)
    free_bytes: Callable[[], float] = host_memory.free_bytes

    def exceeded(self, pid: int) -> str:
        """Returns why a process takes too much memory, or an empty string."""
        used = self.used_bytes(pid)
        if self.most_bytes is not None and used > self.most_bytes:
            return f"it took more than the {gib(self.most_bytes)} of memory="
        total = host_memory.total_bytes()
        reserve = RESERVE_BYTES + (RESERVE_SHARE * total if total < float("inf") else 0)
        if self.free_bytes() < reserve:
            return f"it took {gib(used)}, and less than {gib(reserve)} were left free"
        return ""


@dataclass(frozen=True)
class Outcome:
    """How a try ended.

    Attributes:
        result: what it returned; None if it had not enough memory.
        why_not: the reason then.
    """

    result: Any = None
    why_not: str = ""


def attempt(compute: Callable[[], Any], *, limit: Limit, watch: Callable[[float], None]) -> Outcome:
    """Computes a result in a forked process, which ends with this one.

    Args:
        compute: what to compute; its result can be pickled.
        limit: how much memory it may take.
        watch: called again and again with the memory in use, in bytes.

    Raises:
        TfrunError: `compute` raised it, and it isn't a lack of memory.
        RuntimeError: the process died, or `compute` raised another exception: a bug, with its traceback.
    """
    with tempfile.TemporaryFile() as output:
        connection, of_child = Pipe(duplex=False)
        child = Child.fork(lambda: _serve(of_child, compute, output.fileno()), Path(os.devnull))
        of_child.close()
        try:
            return _waited(child, connection, limit=limit, watch=watch, output=output)
        finally:
            child.kill()
            connection.close()


def _serve(connection: Connection, compute: Callable[[], Any], output: int) -> int:
    """Sends what `compute` returns or raises; returns the exit code."""
    for number in (1, 2):
        os.dup2(output, number)
    try:
        message: Any = Outcome(compute())
    except ResourceError as error:
        message = Outcome(why_not=str(error))
    except TfrunError as error:
        message = error
    except Exception:
        message = traceback.format_exc()
    with contextlib.suppress(OSError):  # the parent has ended
        connection.send(message)
    return 0


def _waited(
    child: Child, connection: Connection, *, limit: Limit, watch: Callable[[float], None], output: IO[bytes]
) -> Outcome:
    """Returns how a child has ended, which is killed if it takes too much memory."""
    while not connection.poll(POLL_SECONDS):
        if child.has_ended() and not connection.poll():
            return _of_dead(child, output)
        if reason := limit.exceeded(child.pid):
            child.kill()
            return Outcome(why_not=reason)
        watch(limit.used_bytes(child.pid))
    try:
        message: Any = connection.recv()
    except EOFError:
        child.wait()
        return _of_dead(child, output)
    if isinstance(message, TfrunError):
        raise message
    if isinstance(message, str):
        raise RuntimeError(f"in the process that tried it:\n{message}")
    outcome: Outcome = message
    return outcome


def _of_dead(child: Child, output: IO[bytes]) -> Outcome:
    """Returns the outcome of a child that died without a message. Raises RuntimeError if memory wasn't the reason."""
    number = -(child.exit_code or 0)
    if number == signal.SIGKILL:  # not by us: by the kernel, or by the guard of a container
        return Outcome(why_not="the kernel killed it, as it does if there is no memory left")
    output.seek(0, os.SEEK_END)
    output.seek(max(output.tell() - LAST_BYTES, 0))
    text = output.read().decode(errors="replace")
    if any(word in text for word in BY_MEMORY):
        return Outcome(why_not=text.strip().splitlines()[-1][:200])
    how = f"died of {signal.Signals(number).name}" if number > 0 else f"ended with exit code {child.exit_code}"
    raise RuntimeError(f"the process that tried it {how}:\n{text}")


def resident_bytes(pid: int) -> float:
    """Returns the memory that a process has in use; 0 if that isn't known, or it has ended."""
    try:
        return float(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, IndexError, ValueError):
        return 0.0


def gib(num_bytes: float) -> str:
    """Returns a number of bytes for a person."""
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.0f} MiB"
