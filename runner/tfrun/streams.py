"""The standard streams, which may be closed, or not be writable: neither ends a run."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import IO, Any, cast


def open_closed_streams() -> None:
    """Opens the standard streams that a shell has closed (`>&-`), or the next file that is opened would be one."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number, which is this one
        if getattr(sys, name) is None:
            stream = open(number, "r" if number == 0 else "w", closefd=False)  # noqa: SIM115 - lives as long as the process
            setattr(sys, name, stream)


def silence(stream: IO[str]) -> None:
    """Drops what is written to a stream from now on, and what it has not written yet."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor
        os.dup2(nothing, stream.fileno())
        stream.flush()
    os.close(nothing)


def is_refused_output(error: Exception) -> bool:
    """Returns whether an error says that the standard output can't be written, which is silent from then on."""
    refusals = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF)
    is_output = isinstance(error, OSError) and error.filename is None and error.errno in refusals
    if is_output:
        silence(sys.stdout)
    return is_output


class Tolerant:
    """A stream that falls silent when it can't be written: a full disk, a closed pipe, a terminal that is gone.

    Args:
        stream: what to write to.
        is_result: whether the text is what the command is for; then only a closed pipe, whose reader has read enough,
            is no error.
    """

    def __init__(self, stream: IO[str], *, is_result: bool = False):
        self._stream = stream
        self._is_result = is_result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._refused(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._refused(error)

    def _refused(self, error: OSError) -> None:
        silence(self._stream)
        if self._is_result and not isinstance(error, BrokenPipeError):
            raise error


def complain(text: str) -> None:
    """Prints a text on standard error, if that can be written."""
    print(text, file=cast(IO[str], Tolerant(sys.stderr)), flush=True)
