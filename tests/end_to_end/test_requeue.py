"""A command with `resume=auto` that a scheduler starts again and again under the id of one job."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

STARTS = [  # where each start ends, by which signal, and its exit code
    ("run.json.write:1", "", -signal.SIGKILL),  # before anything can be resumed
    ("block:1", "=SIGUSR1", 138),
    ("block:1", "", -signal.SIGKILL),
    ("epoch:1", "=SIGUSR2", 140),
]


@pytest.mark.slow
def test_a_job_that_starts_again_equals_an_undisturbed_run(
    runs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    output = ""
    for place, sent, expected in STARTS:
        code, output = runs.train(tmp_path, "linear", "resume=auto", failpoint=place + sent)
        assert code == expected, output
    assert "stopped by SIGUSR2 at step" in output and "its state saved" in output
    code, output = runs.train(tmp_path, "linear", "resume=auto")
    assert code == 0 and "resuming from outputs/run/" in output, output
    (path,) = tmp_path.glob("outputs/run/*_4711")
    runs.assert_same(path, runs.undisturbed("linear"))
    assert len(json.loads((path / "run.json").read_text())["resumed"]) == 4
    code, output = runs.train(tmp_path, "linear", "resume=auto")
    assert (code, output) == (0, f"outputs/run/{path.name} is completed already, at step 44\n")
