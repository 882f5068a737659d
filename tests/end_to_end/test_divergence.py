"""Runs whose numbers stop being finite: what is reported, and what a run can do instead of stopping."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from tfrun import cli

POISON = """
import tensorflow as tf
from tfrun import register

@register.loss("poisoned")
def poisoned(y_true, y_pred):
    "The squared error, and nan where the target is beyond 2.2 standard deviations."
    return tf.reduce_mean(tf.square(y_pred - y_true) / tf.cast(y_true < 2.2, y_pred.dtype), axis=-1)
"""
RUN = ["plugins=poison", "loss=poisoned", "trainer.max_epochs=3", "data.batch_size=16", "data.split_seed=1"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "poison.py").write_text(POISON)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def only_run(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("outputs/*/*/run.json")
    return json.loads(path.read_text())


@pytest.mark.parametrize("compile", ["graph", "xla"])
def test_the_rows_are_named(compile: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*RUN, f"trainer.compile={compile}"]) == 4
    message = capsys.readouterr().err
    error = only_run(folder)["error"]
    target = load_diabetes(scaled=False).target

    assert min(target[error["rows"]]) > 280
    assert "poison.py:8" in error["tensor"] and "RealDiv" in error["tensor"]
    assert f"scikit-learn's diabetes:{error['rows'][0] + 1}" in message
    assert message.count("\n") == 1


def test_steps_that_are_not_finite_may_be_skipped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*RUN, "trainer.on_divergence=skip", "trainer.compile=xla"]) == 0
    run = only_run(folder)
    skipped = run["engine"]["skipped_steps"]
    assert 0 < skipped < run["step"] / 2 and run["step"] == 3 * 22
    assert np.isfinite(run["metrics"]["train/loss"])
    assert f"warning: {skipped} of {run['step']} steps made no update" in capsys.readouterr().out


def test_a_run_may_roll_back_and_continue_at_lower_rates(folder: Path) -> None:
    words = ["model=linear", "loss=mse", "optimizer=sgd", "optimizer.learning_rate=4", "trainer.max_epochs=40"]
    assert cli.main([*words, "trainer.compile=graph", "name=stopped"]) == 4
    words += ["trainer.on_divergence=rollback", "trainer.compile=graph"]
    assert cli.main([*words, "name=rolled_back"]) == 0
    (path,) = folder.glob("outputs/rolled_back/*")
    run = json.loads((path / "run.json").read_text())
    rollbacks = run["rollbacks"]
    assert rollbacks and {rollback["to"] for rollback in rollbacks} == {0}
    assert [rollback["rates"] for rollback in rollbacks] == [0.5 ** (k + 1) for k in range(len(rollbacks))]
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [*range(1, 41), 40]  # no epoch twice
    assert run["metrics"]["val/loss"] < 1
    assert cli.main([*words, "optimizer.learning_rate=1e30", "name=never"]) == 4
