"""Runs that the disk refuses, or whose clock goes backwards: what is left can be resumed, and ends the same."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

RECIPE = "linear"  # of those in conftest.py, as the model doesn't matter here
# code that a process runs first
SMALL_FILES = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))"
CLOCK_GOES_BACK = """
import datetime, itertools
from tfrun.engine.recording import tensorboard
from tfrun.files import runs

hours = itertools.count()

class Backwards(datetime.datetime):  # by an hour whenever it is read
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) - datetime.timedelta(hours=next(hours))

vars(runs)["datetime"] = Backwards
tensorboard.TensorBoard.__init__.__kwdefaults__["clock"] = lambda: Backwards.now().timestamp()
"""


@pytest.mark.slow
@pytest.mark.parametrize("failpoint", ["io:14=full", "io:52=full", "io:40=full+"])
def test_a_full_disk(failpoint: str, runs: Any, tmp_path: Path) -> None:
    """Training continues if it can; else it ends with exit code 5, and can be resumed once there is room."""
    code, output = runs.train(tmp_path, RECIPE, failpoint=failpoint)
    assert code in (0, 5), output
    assert "Traceback" not in output
    if failpoint.endswith("+"):
        assert code == 5 and "No space left on device" in output
    for path in tmp_path.glob("outputs/run/*/checkpoints/step-*"):
        assert {item.name for item in path.iterdir()} == {"state.npz", "manifest.json"}
    path = runs.path(tmp_path) if code == 0 else runs.finish(tmp_path, RECIPE)
    runs.assert_same(path, runs.undisturbed(RECIPE))


@pytest.mark.slow
def test_files_may_not_grow(runs: Any, tmp_path: Path) -> None:
    """By the system's own limit, too little for a checkpoint: the curves stay, and a resume starts over."""
    code, output = runs.train(tmp_path, "large", before=SMALL_FILES)
    assert code == 5 and "File too large" in output and "Traceback" not in output
    failed = runs.path(tmp_path)
    assert runs.results(failed)["status"] == "failed"
    lines = (failed / "metrics.jsonl").read_text().splitlines()
    undisturbed = runs.undisturbed("large")
    assert len(lines) == 4 and (undisturbed / "metrics.jsonl").read_text().splitlines()[:4] == lines
    runs.assert_same(runs.finish(tmp_path, "large"), undisturbed)


@pytest.mark.slow
def test_the_clock_goes_backwards(runs: Any, tmp_path: Path) -> None:
    often = "checkpoint.every_seconds=0.01"
    code, output = runs.train(tmp_path, RECIPE, often, failpoint="epoch:2", before=CLOCK_GOES_BACK)
    assert code == -signal.SIGKILL, output
    code, output = runs.call(tmp_path, "resume", str(runs.path(tmp_path)), before=CLOCK_GOES_BACK)
    assert code == 0, output
    runs.assert_same(runs.path(tmp_path), runs.undisturbed(RECIPE))
