"""What signals do to a run."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from tfrun.engine.recording.signals import end_at_once, stop_on_signals, stopping_on_signals
from tfrun.files.runs import RunFolder
from tfrun.stop_signals import STOP_SIGNALS

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


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_the_first_signal_is_reported(number: signal.Signals) -> None:
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


def test_what_a_scheduler_announced_leaves_the_time_to_save() -> None:
    """Slurm's SIGTERM after SIGUSR1 ends nothing; in a process of a sweep no second signal does."""
    for before_end, second in ((lambda number: None, signal.SIGTERM), (None, signal.SIGINT)):
        with stop_on_signals(lambda number: None, before_end) as received:
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), second)
            deadline = time.monotonic() + 10
            while not received and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.2)
        assert received[0] == signal.SIGUSR1


def test_the_first_signal_says_what_happens_next(tmp_path: Path) -> None:
    out = io.StringIO()
    with stopping_on_signals(Console(file=out, width=100), RunFolder(tmp_path)) as received:
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 10
        while not out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert received == [signal.SIGTERM]
    assert "SIGTERM: stopping after this block, saving the state" in out.getvalue()


def test_the_second_signal_is_recorded(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_run({"status": "running", "step": 40, "ended": None, "error": None})
    end_at_once(Console(file=io.StringIO()), folder, number=signal.SIGINT)
    run = folder.read_run()
    assert (run["status"], run["error"]["exit_code"]) == ("stopped", 130)
    assert run["error"]["message"] == "ended at once by a second signal; saved up to step 40"
    assert run["ended"] is not None


def test_a_terminal_that_is_closed_sends_sighup_twice_and_nohup_ignores_it() -> None:
    before = signal.getsignal(signal.SIGHUP)
    reported: list[int] = []
    with stop_on_signals(reported.append, before_end=lambda number: None) as received:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.2)
    assert received == reported == [signal.SIGHUP]
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with stop_on_signals(reported.append, before_end=lambda number: None) as received:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.1)
        assert received == []
    finally:
        signal.signal(signal.SIGHUP, before)
