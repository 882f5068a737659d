"""Forked processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tfrun.sweep.child import Child

WaitFor = Callable[..., None]


def read(log: Path) -> str:
    return log.read_text() if log.exists() else ""


def leave() -> int:
    sys.exit(5)


def fail() -> int:
    raise ValueError("a bug")


@pytest.mark.parametrize(
    ("run", "exit_code", "logged"),
    [(lambda: 0, 0, ""), (lambda: 3, 3, ""), (leave, 5, "SystemExit: 5"), (fail, 1, "ValueError: a bug")],
)
def test_the_exit_code_of_a_child(tmp_path: Path, run: Callable[[], int], exit_code: int, logged: str) -> None:
    child = Child.fork(run, tmp_path / "log")
    child.wait()
    assert child.has_ended() and child.exit_code == exit_code
    assert logged in (tmp_path / "log").read_text()


def test_all_output_of_a_child_goes_to_its_log(tmp_path: Path) -> None:
    def speak() -> int:
        print("from Python")
        os.write(2, b"from C\n")
        return len(os.read(0, 1))  # its standard input is empty

    child = Child.fork(speak, tmp_path / "log")
    child.wait()
    assert child.exit_code == 0
    assert sorted((tmp_path / "log").read_text().split("\n")) == ["", "from C", "from Python"]


def test_only_the_first_signal_is_sent(tmp_path: Path, wait_for: WaitFor) -> None:
    def count() -> int:
        received: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
        print("ready")
        while not received:
            time.sleep(0.01)
        time.sleep(0.2)
        return len(received)

    child = Child.fork(count, tmp_path / "log")
    wait_for(lambda: "ready" in read(tmp_path / "log"))
    child.send(signal.SIGTERM)
    child.send(signal.SIGTERM)
    child.wait()
    assert child.exit_code == 1


def test_killing_a_child_kills_the_processes_that_it_started(tmp_path: Path, wait_for: WaitFor) -> None:
    def start() -> int:
        process = subprocess.Popen(["sleep", "600"])
        print(process.pid)
        return process.wait()

    child = Child.fork(start, tmp_path / "log")
    wait_for(lambda: read(tmp_path / "log").strip().isdigit())
    assert not child.has_ended()
    child.kill()
    assert child.exit_code == -signal.SIGKILL
    wait_for(lambda: is_gone(int((tmp_path / "log").read_text())), 5)


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"  # it is dead, but init has not collected it yet


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[int]:
    """The id of a forked process whose parent is killed."""
    code = (
        "import time; from pathlib import Path; from tfrun.sweep.child import Child\n"
        f"child = Child.fork(lambda: time.sleep(600), Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    pid = int(process.stdout.readline())
    time.sleep(0.2)
    process.kill()
    process.communicate()
    yield pid


@pytest.mark.skipif(sys.platform != "linux", reason="only the kernel of Linux guarantees it")
def test_a_child_does_not_outlive_its_parent(orphan: int, wait_for: WaitFor) -> None:
    wait_for(lambda: is_gone(orphan), 5)


def test_importing_the_engine_starts_no_runtime() -> None:
    """A process that is forked after TensorFlow's runtime has started hangs without a message."""
    code = (
        "from tfrun.engine import experiment; from tensorflow.python.eager import context\n"
        "print(context._context is None or not context._context._initialized)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "True", result.stderr
