"""How long something that all workers do together may take."""

from __future__ import annotations

import threading

import pytest

from tfrun.engine import private
from tfrun.engine.training.exchange_limit import STUCK, exchange_limit


@pytest.fixture
def given_up(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, list[str]]:
    """Returns an event that is set when the exchanges are given up, and the reasons."""
    event, reasons = threading.Event(), list[str]()

    def give_up(reason: str) -> None:
        reasons.append(reason)
        event.set()

    monkeypatch.setattr(private, "abort_exchanges", give_up)
    return event, reasons


def test_what_takes_longer_is_given_up(given_up: tuple[threading.Event, list[str]]) -> None:
    event, reasons = given_up
    with exchange_limit(0.01):
        assert event.wait(60)
    assert reasons == [STUCK]


@pytest.mark.parametrize("seconds", [600.0, None])
def test_what_ends_in_time_leaves_no_thread(seconds: float | None, given_up: tuple[threading.Event, list[str]]) -> None:
    before = set(threading.enumerate())
    with exchange_limit(seconds):
        started = set(threading.enumerate()) - before
        assert len(started) == (seconds is not None)
    for thread in started:
        thread.join(60)
    assert set(threading.enumerate()) <= before and given_up[1] == []
