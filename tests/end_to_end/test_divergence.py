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


@pytest.mark.parametrize(("epochs", "steps"), [(1, 11), (3, 12)])
def test_a_run_that_skips_nearly_every_step_has_diverged(
    folder: Path, capsys: pytest.CaptureFixture[str], epochs: int, steps: int
) -> None:
    """Its second step makes the weights so large that no later one is finite."""
    words = ["model=mlp", "loss=mse", "optimizer=sgd", "optimizer.learning_rate=1e4", "trainer.compile=graph"]
    assert cli.main([*words, "trainer.on_divergence=skip", f"trainer.max_epochs={epochs}"]) == 4
    run = only_run(folder)
    assert (run["status"], run["step"], run["engine"]["skipped_steps"]) == ("diverged", steps, steps - 1)
    message = "10 of 11 steps made no update" if epochs == 1 else "is not finite at step 13"
    assert message in capsys.readouterr().err


def test_an_epoch_whose_steps_were_all_skipped_has_no_value(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two epochs of one step: the second one is skipped, which is half of them, and none in a row beyond an epoch."""
    words = ["model=linear", "loss=mse", "optimizer=sgd", "optimizer.learning_rate=1e18", "trainer.compile=graph"]
    words += ["data.batch_size=350", "trainer.on_divergence=skip", "checkpoint.monitor=train/loss"]
    assert cli.main([*words, "trainer.max_epochs=2"]) == 0
    out = capsys.readouterr().out
    names = "train/loss, train/mae, train/rmse"
    assert f"warning: {names}: not defined in epoch 2, because its steps were all skipped. Null in the files" in out
    (path,) = folder.glob("outputs/*/*/metrics.jsonl")
    first, second, test = (json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines())
    assert {second[name] for name in names.split(", ")} == {None} and first["train/loss"] > 0
    run = only_run(folder)
    assert run["best"]["epoch"] == 1 and run["metrics"]["train/mae"] is None
    assert "NaN" not in path.with_name("run.json").read_text()


NAN_SCHEDULE = """
import tensorflow as tf
from tfrun import register

@register.schedule("nan_later")
def nan_later(step):
    "1, and from step 24 on nan."
    return tf.where(step >= 23, float("nan"), 1.0)
"""
SGD = ["model=mlp", "loss=mse", "optimizer=sgd", "trainer.max_epochs=3"]
LATER = ["plugins=later", "model=linear", "loss=mse", "trainer.max_epochs=3"]
LATER += ["optimizer.groups={all: {match: '.*', name: sgd, learning_rate: 0.01, schedule: nan_later}}"]


@pytest.mark.parametrize(
    ("words", "message", "step"),
    [
        (["optimizer.learning_rate=1e38", *SGD], "the update makes output/kernel (optimizer.groups.all) infinite", 0),
        (LATER, "optimizer.groups.all: the learning rate of the schedule nan_later is nan at step 24, epoch 3", 23),
        ([*LATER, "trainer.on_divergence=rollback"], "the learning rate of the schedule nan_later is nan", 23),
    ],
)
def test_what_is_saved_is_finite_and_the_cause_is_named(
    words: list[str], message: str, step: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "later.py").write_text(NAN_SCHEDULE)
    assert cli.main(words) == 4
    err = capsys.readouterr().err
    assert message in err and f"The weights of step {step} are saved" in err and err.count("\n") == 1
    (state,) = folder.glob(f"outputs/*/*/checkpoints/step-{step:09d}/state.npz")
    arrays = np.load(state)
    assert [key for key in arrays if key.startswith(("model", "optimizer", "learning_rate"))]
    assert all(np.isfinite(arrays[key]).all() for key in arrays if not key.startswith("best/0000"))


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
