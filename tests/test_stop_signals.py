"""Which signals stop a run, and which are the same event as one before."""

from __future__ import annotations

import signal
from signal import SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2

import pytest

from tfrun.stop_signals import STOP_SIGNALS, is_repeated, stop_signals


@pytest.mark.parametrize(
    ("received", "number", "expected"),
    [
        ([], SIGTERM, False),
        ([], SIGUSR1, False),
        ([SIGINT], SIGINT, False),  # an impatient person
        ([SIGTERM], SIGTERM, False),
        ([SIGHUP], SIGHUP, True),  # a terminal that is closed
        ([SIGHUP], SIGTERM, False),
        ([SIGUSR1], SIGTERM, True),  # the end that Slurm has announced
        ([SIGUSR2], SIGTERM, True),
        ([SIGUSR1], SIGUSR1, True),
        ([SIGTERM], SIGUSR2, True),
        ([SIGUSR1], SIGINT, False),
    ],
)
def test_what_is_the_same_event(received: list[int], number: int, expected: bool) -> None:
    assert is_repeated(number, received) is expected


@pytest.mark.parametrize("number", [SIGHUP, SIGUSR1, SIGUSR2, SIGTERM])
def test_signals_that_the_parent_ignores_stay_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert (number in stop_signals()) is (number == SIGTERM)
    finally:
        signal.signal(number, before)
    assert stop_signals() == list(STOP_SIGNALS)
