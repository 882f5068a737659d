"""A sweep that was pruned, and every command that reads its runs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tfrun

Command = Callable[..., subprocess.CompletedProcess[str]]


def evaluated(text: str) -> list[str]:
    return re.findall(r"test/\w+ +[\d.]+", text)


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["last", "best"])
def test_every_command_reads_a_pruned_run(keep: str, warm_tfrun: Command, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        done = warm_tfrun(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-m", "seed=1,2", "trainer.max_epochs=4", "checkpoint.every_epochs=1", "trainer.ema_decay=0.9")
    sweep = next((tmp_path / "multirun").glob("*/*"))
    trained = tfrun.open(sweep / "0")
    rows = {"age": [50.0], "sex": ["2"], "bmi": [25.0], "bp": [90.0], **{f"s{k}": [50.0] for k in range(1, 7)}}
    (target,) = trained.predict(rows)
    before = (evaluated(run("evaluate", "best")), run("compare", "latest"), trained.predict(rows)[target])
    assert len(before[0]) == 3
    out = run("prune", "latest", f"keep={keep}", "yes=true")
    assert " in 2 runs\n" in out
    assert [len(list((sweep / f"{k}/checkpoints").iterdir())) for k in range(2)] == [1, 1]
    opened = tfrun.open(sweep / "0")
    after = (evaluated(run("evaluate", "best")), run("compare", "latest"), opened.predict(rows)[target])
    assert after[:2] == before[:2]
    np.testing.assert_array_equal(after[2], before[2])
    assert "checked in a clean process" in run("export", "best", "format=saved_model")
    assert "the mean of 2 runs" in run("export", "latest", "ensemble=all", "format=keras")
    run("predict", "best", "data=diabetes")
    (predictions,) = sweep.glob("*/predictions/diabetes.csv")
    assert run("report", "best") and "predictions" in (predictions.parents[1] / "report.html").read_text()
    assert "best weights" in run(f"init={sweep}/0", "trainer.max_epochs=1", "trainer.ema_decay=0.9")
    assert "0 of 2 jobs are left to do" in run("resume", f"{sweep}")
    done = warm_tfrun("resume", f"{sweep}/0", "trainer.max_epochs=5")
    if keep == "last":
        assert done.returncode == 0 and "resuming from" in done.stdout
    else:
        assert done.returncode == 6 and re.fullmatch(
            r"tfrun: error: \S+/0: its checkpoints were pruned at \S+, so it can't be resumed: .* init=\S+/0\n",
            done.stderr,
        )
