"""Losses and metrics that mix the rows of a batch; `test_wrong_components.py` has more of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.config.catalog import load_catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.data.targets import FittedTarget
from tfrun.engine import private
from tfrun.engine.building.mixing import is_shipped, mixes_rows, warn_of_mixing

Y = tf.constant(np.linspace(-1.0, 2.0, 8)[:, None], "float32")
Y_PRED = tf.constant(np.linspace(0.9, 0.1, 8)[:, None], "float32")
GENERATOR = keras.random.SeedGenerator(1)


def of_logarithms(y: Any, y_pred: Any) -> Any:  # NaN for targets below 0, whose rows are the last ones
    return tf.reduce_mean(tf.square(tf.math.log(tf.squeeze(y, -1)) - y_pred), axis=-1)


@pytest.mark.parametrize(
    ("loss", "mixes"),
    [
        (lambda y, y_pred: tf.reduce_mean(tf.square(y_pred - y), axis=-1), False),
        (lambda y, y_pred: tf.reduce_mean(tf.square(y_pred - tf.squeeze(y, -1)), axis=-1), True),
        (lambda y, y_pred: tf.reduce_mean(tf.square(tf.squeeze(y_pred, -1) - y), axis=-1), True),
        (lambda y, y_pred: (y_pred - tf.reduce_mean(y))[:, 0], True),
        (lambda y, y_pred: tf.math.log(y - y)[:, 0], False),  # −∞ everywhere
        (lambda y, y_pred: y_pred[:, 0] + keras.random.normal([len(y)], seed=GENERATOR), False),  # not judged
        (lambda y, y_pred: y_pred[:, 0] * "a", False),
        (of_logarithms, True),
    ],
)
@pytest.mark.parametrize("draws", [False, True])
def test_what_mixes_rows(loss: Callable[..., Any], mixes: bool, draws: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "may_draw_statefully", lambda: draws)
    before = GENERATOR.state.numpy().tolist()
    y = -tf.sort(-Y, axis=0) if loss is of_logarithms else Y
    assert mixes_rows(loss, y, Y_PRED) is mixes
    assert GENERATOR.state.numpy().tolist() == before


def test_tensorflows_random_operations_draw_as_without_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "may_draw_statefully", lambda: True)

    def next_number(tries: int) -> float:
        tf.random.set_seed(5)
        for _ in range(tries):
            mixes_rows(lambda y, y_pred: y_pred[:, 0] + tf.random.normal([len(y)]), Y, Y_PRED)
        return float(tf.random.normal([]))

    assert next_number(0) == next_number(2)


PLUGIN = """
import tensorflow as tf
from tfrun import register

@register.loss("crossed_rows")
def crossed(y_true, y_pred):
    return tf.reduce_mean(tf.square(y_pred - tf.squeeze(y_true, -1)), axis=-1)

@register.metric("crossed_rows")
def crossed_metric(y_true, y_pred):
    return tf.reduce_mean(tf.abs(y_pred - tf.squeeze(y_true, -1)), axis=-1)
"""


def test_people_are_warned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Callable[..., Any]) -> None:
    (tmp_path / "mixing_plugin.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    catalog = load_catalog(["mixing_plugin"])
    config = settings("plugins=[mixing_plugin]", "loss=crossed_rows", "metric=[mae,crossed_rows]")
    target = FittedTarget("regression")

    def loss(y: Any, y_pred: Any) -> Any:
        return tf.reduce_mean(tf.square(y_pred - tf.squeeze(y, -1)), axis=-1)

    warnings = warn_of_mixing(config, catalog, loss=loss, y_pred=Y_PRED[:2], targets={"output": target})
    file = tmp_path / "mixing_plugin.py"
    ends = "gives a row another value beside other rows. Shapes (B, 1) and (B,) that are mixed do so, since they "
    assert [warning.replace("broadcast to (B, B)", "") for warning in warnings] == [
        f"loss: crossed_rows ({file}:6) {ends}",
        f"metric.crossed_rows: crossed_rows ({file}:10) {ends}",
    ]
    assert is_shipped("loss", ComponentSettings("weighted_sum", {"losses": {"a": "mse", "b": "mae"}}), catalog)
    people = {"losses": {"a": {"name": "crossed_rows"}}}
    assert not is_shipped("loss", ComponentSettings("weighted_sum", people), catalog)
