"""The signals that stop a run with its state saved."""

from __future__ import annotations

import signal
from collections.abc import Sequence

# Schedulers announce with these that a job will end: Slurm's --signal=USR1@300, submitit's SIGUSR2.
ANNOUNCEMENTS = (signal.SIGUSR1, signal.SIGUSR2)
# Each ends a run with its state saved: Ctrl-C, `kill`, a terminal that is closed, and a job that will end.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, *ANNOUNCEMENTS)
MAY_BE_IGNORED = (signal.SIGHUP, *ANNOUNCEMENTS)  # `nohup tfrun`, or `trap '' USR1` in the script of a job


def stop_signals() -> list[signal.Signals]:
    """Returns the signals that stop this process: all of them, except those that its parent made it ignore."""
    return [
        number
        for number in STOP_SIGNALS
        if number not in MAY_BE_IGNORED or signal.getsignal(number) is not signal.SIG_IGN
    ]


def is_repeated(number: int, received: Sequence[int]) -> bool:
    """Returns whether a signal is the same event as one before.

    A terminal that is closed sends SIGHUP twice. A scheduler may announce the end of a job several times, and its
    SIGTERM is what it has announced: the run needs the time until SIGKILL to save.
    """
    if number in ANNOUNCEMENTS:
        return bool(received)
    if number == signal.SIGTERM:
        return any(earlier in ANNOUNCEMENTS for earlier in received)
    return number == signal.SIGHUP and signal.SIGHUP in received
