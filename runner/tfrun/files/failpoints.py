"""Failpoints: places where a test may kill the process, as `kill -9` does, send a signal, or make the disk be full.

`TFRUN_FAILPOINT=manifest.json.sync:3` kills the process before the third sync of a manifest. `=full` after it makes
that operation fail instead, `=full+` that one and all later ones; `=SIGUSR1` sends that signal. The place `io` is every
operation of the disk. Without the variable, a failpoint costs nothing.
"""

from __future__ import annotations

import errno
import os
import signal


class Failpoint:
    """A place, and what happens the n-th time that the process reaches it.

    Args:
        text: the value of TFRUN_FAILPOINT: `<place>[:n][=full[+]]` or `<place>[:n]=SIG…`.
    """

    def __init__(self, text: str):
        where, _, self._action = text.partition("=")
        self._place, _, count = where.partition(":")
        self._left = int(count or 1)

    def reach(self, place: str, is_operation: bool) -> None:
        """Counts a place; kills the process or raises OSError when the count is reached."""
        if place != self._place and not (is_operation and self._place == "io"):
            return
        self._left -= 1
        if self._left > 0 or (self._left < 0 and not self._action.endswith("+")):
            return
        if self._action.startswith("full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.kill(os.getpid(), signal.Signals[self._action or "SIGKILL"])


_failpoint: Failpoint | None = None


def set_failpoint(text: str) -> None:
    """Sets this process's failpoint; an empty text removes it."""
    global _failpoint
    _failpoint = Failpoint(text) if text else None


def reach(place: str, *, is_operation: bool = False) -> None:
    """Marks a place in the code: here a test may kill the process, or fail the operation that follows.

    Args:
        place: its name.
        is_operation: whether an operation of the disk follows, which may fail.
    """
    if _failpoint is not None:
        _failpoint.reach(place, is_operation)


set_failpoint(os.environ.get("TFRUN_FAILPOINT", ""))
