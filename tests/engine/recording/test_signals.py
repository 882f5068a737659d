from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tfrun.engine.recording.signals import stop_on_signals

TWICE = """
import os, signal, time
from tfrun.engine.recording.signals import stop_on_signals
def say(*words):
    print(*words, flush=True)
with stop_on_signals(lambda number: say("first", number), lambda number: say("ending", number)) as received:
    os.kill(os.getpid(), signal.SIGINT)
    while not received:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_taken_note_of(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    reported: list[int] = []
    with stop_on_signals(reported.append, before_end=lambda number: None) as received:
        assert received == []
        os.kill(os.getpid(), number)
        deadline = time.monotonic() + 10
        while not reported and time.monotonic() < deadline:
            time.sleep(0.01)
    assert received == reported == [number]
    assert signal.getsignal(number) is before


def test_the_second_signal_ends_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=25)
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout.splitlines() == ["first 2", "ending 15"]
