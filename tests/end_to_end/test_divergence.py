"""Runs whose numbers stop being finite: what is told of it, and what else than stopping can be done."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_diabetes

from tfrun import cli
from tfrun.engine.training.skips import MOST_IN_A_ROW, Skips
from tfrun.engine.verify.diagnosis import diagnose

X = np.array([[1.0], [-1.0], [2.0]], np.float32)
DATA = (tf.constant(X), tf.zeros([3, 1]), ())
ORDER, NUMBERS = tf.constant([2, 0, 1]), np.array([12, 10, 11])  # rows of DATA, and what they are in the data set


def surprise(y_true: Any, y_pred: Any) -> Any:
    return -tf.reduce_sum(tf.math.log(y_pred), axis=-1)


def root(y_true: Any, y_pred: Any) -> Any:
    return tf.reduce_sum(tf.sqrt(tf.nn.relu(y_pred)), axis=-1)


def step_with(build: Any, loss: Any) -> Any:
    model = build.linear([1.0], 0.0)
    step = build.step(model, [build.group(model.trainable_variables, 0.1)])
    step.loss = loss
    return step


def test_the_row_and_the_operation_are_found(build: Any) -> None:
    step = step_with(build, surprise)
    found = diagnose(step, DATA, batch=ORDER, numbers=NUMBERS)
    assert found.rows == [11]  # log(−1)
    _, line = inspect.getsourcelines(surprise)
    assert found.tensor == f"the output of Log, {__file__}:{line + 1}"
    assert step.loss is surprise
    assert [float(np.ravel(v.numpy())[0]) for v in step.model.trainable_variables] == [1.0, 0.0]


def test_a_gradient_alone_is_the_whole_batch_s(build: Any) -> None:
    found = diagnose(step_with(build, root), DATA, batch=ORDER, numbers=NUMBERS)  # d√relu(−1) = ∞·0
    assert found.rows == [12, 10, 11]
    assert found.tensor.endswith("on the way back through the gradient")


def test_numbers_that_python_finds_finite(build: Any) -> None:
    found = diagnose(step_with(build, lambda y, y_pred: tf.reduce_sum(y_pred, -1)), DATA, batch=ORDER, numbers=NUMBERS)
    assert "only the compiled one isn't finite" in found.tensor


def test_not_every_step_may_be_skipped() -> None:
    skips, yes, no = Skips(), tf.constant(True), tf.constant(False)
    for _ in range(MOST_IN_A_ROW):
        assert skips.tolerates(tf.constant(1.0))
        skips.update(no, yes)
    assert not skips.tolerates(tf.constant(1.0))
    skips.update(no, no)
    assert skips.total == MOST_IN_A_ROW
    skips.update(yes, yes)
    assert skips.tolerates(tf.constant(1.0))


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
def test_the_run_names_the_rows(compile: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*RUN, f"trainer.compile={compile}"]) == 4
    told = capsys.readouterr().err
    error = only_run(folder)["error"]
    target = load_diabetes(scaled=False).target

    assert min(target[error["rows"]]) > 280
    assert "poison.py:8" in error["tensor"] and "RealDiv" in error["tensor"]
    assert f"scikit-learn's diabetes:{error['rows'][0] + 1}" in told
    assert told.count("\n") == 1


def test_such_steps_may_be_skipped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*RUN, "trainer.on_divergence=skip", "trainer.compile=xla"]) == 0
    run = only_run(folder)
    skipped = run["engine"]["skipped_steps"]
    assert 0 < skipped < run["step"] / 2 and run["step"] == 3 * 22
    assert np.isfinite(run["metrics"]["train/loss"])
    assert f"warning: {skipped} of {run['step']} steps made no update" in capsys.readouterr().out


def test_a_run_may_go_back_and_on_at_lower_rates(folder: Path) -> None:
    words = ["model=linear", "loss=mse", "optimizer=sgd", "optimizer.learning_rate=4", "trainer.max_epochs=40"]
    assert cli.main([*words, "trainer.compile=graph", "name=stopped"]) == 4
    words += ["trainer.on_divergence=rollback", "trainer.compile=graph"]
    assert cli.main([*words, "name=back"]) == 0
    (path,) = folder.glob("outputs/back/*")
    run = json.loads((path / "run.json").read_text())
    assert [back["to"] for back in run["rollbacks"]] == [0] * len(run["rollbacks"]) and run["rollbacks"]
    assert [back["rates"] for back in run["rollbacks"]] == [0.5 ** (k + 1) for k in range(len(run["rollbacks"]))]
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [*range(1, 41), 40]  # none twice
    assert run["metrics"]["val/loss"] < 1
    assert cli.main([*words, "optimizer.learning_rate=1e30", "name=never"]) == 4
