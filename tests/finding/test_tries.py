"""Tries in processes that return, fail, die, or take too much memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrun.errors import ConfigError, ResourceError
from tfrun.finding.tries import Limit, Outcome, attempt, gib, resident_bytes

MIB = 2**20


def ignore(used: float) -> None:
    pass


def tried(compute: Callable[[], Any], limit: Limit | None = None) -> Outcome:
    return attempt(compute, limit=limit or Limit(free_bytes=lambda: float("inf")), watch=ignore)


def fail(error: BaseException) -> Callable[[], Any]:
    def compute() -> None:
        raise error

    return compute


def die(number: int, text: str = "") -> Callable[[], Any]:
    def compute() -> None:
        os.write(2, text.encode())
        os.kill(os.getpid(), number)
        time.sleep(60)

    return compute


def test_a_result_comes_back_from_another_process() -> None:
    result = tried(lambda: {"pid": os.getpid()}).result
    assert result["pid"] != os.getpid()


def test_a_lack_of_memory_is_an_outcome() -> None:
    assert tried(fail(ResourceError("the memory is used up"))) == Outcome(why_not="the memory is used up")
    assert "the kernel killed it" in tried(die(signal.SIGKILL)).why_not
    assert "bad_alloc" in tried(die(signal.SIGALRM, "terminate called\n  what(): std::bad_alloc\n")).why_not


def test_mistakes_and_bugs_are_raised() -> None:
    with pytest.raises(ConfigError, match="a wrong key"):
        tried(fail(ConfigError("a wrong key")))
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*ZeroDivisionError: a bug"):
        tried(fail(ZeroDivisionError("a bug")))
    with pytest.raises(RuntimeError, match=r"died of SIGALRM:\n.*fault"):
        tried(die(signal.SIGALRM, "a fault"))
    with pytest.raises(RuntimeError, match="exit code 3"):
        tried(fail(SystemExit(3)))


def test_a_process_over_its_limit_is_killed() -> None:
    pids: list[int] = []

    def used(pid: int) -> float:
        pids.append(pid)
        return resident_bytes(pid)

    def grow() -> None:
        blocks = []
        while True:
            blocks.append(bytes(range(256)) * (MIB // 64))  # 4 MiB that are written to
            time.sleep(0.005)

    limit = Limit(resident_bytes(os.getpid()) + 200 * MIB, used_bytes=used, free_bytes=lambda: float("inf"))
    outcome = tried(grow, limit)
    assert outcome.result is None and "of memory=" in outcome.why_not
    assert not Path(f"/proc/{pids[0]}").exists()


def test_a_process_is_killed_before_the_free_memory_is_used_up() -> None:
    free = iter([10**15, 10**15])
    outcome = tried(lambda: time.sleep(60), Limit(free_bytes=lambda: next(free, 100.0)))
    assert "were left free" in outcome.why_not


def test_an_interrupt_ends_the_process() -> None:
    pids: list[int] = []

    def interrupt(used: float) -> None:
        raise KeyboardInterrupt

    def used(pid: int) -> float:
        pids.append(pid)
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        attempt(lambda: time.sleep(60), limit=Limit(used_bytes=used), watch=interrupt)
    assert not Path(f"/proc/{pids[0]}").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux ends them")
def test_a_killed_parent_leaves_nothing_behind(wait_for: Callable[..., None]) -> None:
    code = (
        "import os, time\n"
        "from tfrun.finding.tries import Limit, attempt\n"
        "def compute(): time.sleep(60)\n"
        "def used(pid): print(pid, flush=True); return 0\n"
        "attempt(compute, limit=Limit(used_bytes=used), watch=lambda used: None)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    wait_for(lambda: not Path(f"/proc/{pid}").exists() or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text())


def test_the_memory_of_a_process_that_has_ended() -> None:
    assert resident_bytes(2**22 + 1) == 0 and resident_bytes(os.getpid()) > MIB
    assert (gib(3 * 2**29), gib(300 * MIB)) == ("1.5 GiB", "300 MiB")
