"""The signals that stop a run with its state saved."""

from __future__ import annotations

import signal
from collections.abc import Sequence

# Each ends a run with its state saved: Ctrl-C, `kill`, and a terminal that is closed.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stop_signals() -> list[signal.Signals]:
    """Returns the signals that stop this process: all of them, but for SIGHUP under `nohup`, which ignores it."""
    return [
        number
        for number in STOP_SIGNALS
        if number != signal.SIGHUP or signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    ]


def is_repeated(number: int, received: Sequence[int]) -> bool:
    """Returns whether a signal is the same event as one before: a terminal that is closed sends SIGHUP twice."""
    return number == signal.SIGHUP and signal.SIGHUP in received
