"""How a run in a process of its own ends. `test_notebook.py` has real ones, and interrupts one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tfrun import errors
from tfrun.python_api import process
from tfrun.python_api.display import Display

LONG = [
    "model=linear",
    "loss=huber",
    "trainer.max_epochs=10000000",
    "trainer.compile=eager",
    "checkpoint.every_steps=20",
]


class Shown(Display):
    """Remembers what it shows."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def show(self, line: str) -> None:
        self.lines.append(line)


def output_of(*lines: str) -> tuple[process._Output, list[str]]:
    shown = Shown()
    output = process._Output(shown)
    for line in lines:
        output.add(line)
    return output, shown.lines


def test_the_summary_names_the_folder() -> None:
    lines = ["model       mlp", "run         outputs/two words/2026", "checkpoint  outputs/two words/2026/checkpoints"]
    output, shown = output_of(*lines)
    assert output.folder == Path("outputs/two words/2026").absolute() and shown == lines


@pytest.mark.parametrize(
    ("code", "line", "kind", "message"),
    [
        (2, "tfrun: error: los: unknown key", errors.ConfigError, "los: unknown key"),
        (3, "tfrun: error: no such file", errors.DataError, "no such file"),
        (4, "tfrun: error: not finite", errors.DivergedError, "not finite"),
        (5, "tfrun: error: a full disk", errors.ResourceError, "a full disk"),
        (6, "tfrun: error: damaged", errors.CheckpointError, "damaged"),
        (7, "tfrun: error: in use", errors.FolderInUseError, "in use"),
        (130, "tfrun: stopped by SIGINT at step 3", errors.Interrupted, "stopped by SIGINT at step 3"),
        (143, "tfrun: ended by SIGTERM", errors.Interrupted, "ended by SIGTERM"),
        (-15, "", errors.Interrupted, "ended by SIGTERM"),
        (130, "tfrun: interrupted", KeyboardInterrupt, ""),
        (-2, "", KeyboardInterrupt, ""),
        (-9, "", errors.ResourceError, "was killed"),
        (1, "ValueError: no", RuntimeError, "tfrun ended with exit code 1: ValueError: no"),
    ],
)
def test_an_exit_code_becomes_an_exception(code: int, line: str, kind: type[BaseException], message: str) -> None:
    output, _ = output_of("a line", line)
    error = process._error(code, output)
    assert type(error) is kind and message in str(error)


def test_the_exception_s_line_is_not_shown_too() -> None:
    assert output_of("tfrun: error: los")[1] == []
    bug = ["tfrun: error in a plugin (HYDRA_FULL_ERROR=1 prints the whole traceback):", "ValueError: no"]
    assert output_of(*bug)[1] == bug


@pytest.mark.slow
def test_a_run_stops_with_its_state_saved_if_its_kernel_is_killed(tmp_path: Path) -> None:
    code = f"import tfrun; tfrun.run(*{LONG}, show=False)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path) as kernel:
        while not list(tmp_path.glob("outputs/*/*/checkpoints/step-*")):
            assert kernel.poll() is None
            time.sleep(0.05)
        os.kill(kernel.pid, signal.SIGKILL)
    (run_json,) = tmp_path.glob("outputs/*/*/run.json")
    deadline = time.monotonic() + 60
    while (run := json.loads(run_json.read_text()))["status"] == "running" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert run["status"] == "stopped"
    assert list(run_json.parent.glob(f"checkpoints/step-*{run['step']}"))
