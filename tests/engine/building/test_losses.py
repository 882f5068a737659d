"""Losses and metrics of the config, over the outputs of a model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.config.catalog import load_catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.settings import MetricSettings
from tfrun.data.targets import FittedTarget
from tfrun.engine.building.losses import build_loss, build_metrics, check_outputs, naming
from tfrun.errors import ConfigError

CATALOG = load_catalog()
Y, Y_PRED = tf.constant([[0.0], [3.0]]), tf.constant([[2.0], [2.0]])  # errors 2 and −1
NUMBER = FittedTarget("regression")


def loss(name: str, *, output_weights: Any = {}, tasks: Any = {}, **params: Any) -> Any:  # noqa: B006
    settings = ComponentSettings(name, params)
    return build_loss(settings, CATALOG, output_weights=output_weights, tasks=tasks)


def test_a_loss_gives_each_example_a_value() -> None:
    assert loss("mse")(Y, Y_PRED).numpy().tolist() == [4.0, 1.0]
    wide = tf.constant([[0.0, 2.0], [1.0, 1.0]])
    assert loss("mae")(tf.zeros([2, 2]), wide).numpy().tolist() == [1.0, 1.0]


def test_outputs_of_mixed_precision_become_float32() -> None:
    values = loss("mse")(Y, tf.cast(Y_PRED, tf.bfloat16))
    assert values.dtype == tf.float32 and values.numpy().tolist() == [4.0, 1.0]


def test_losses_of_several_outputs_are_added_by_weight() -> None:
    both = {"output": Y_PRED, "auxiliary": tf.constant([[1.0], [3.0]])}  # of the same target
    assert loss("mse", output_weights={"auxiliary": 0.5})(Y, both).numpy().tolist() == [4.0 + 0.5, 1.0 + 0.0]


def test_a_loss_may_take_all_outputs() -> None:
    both = {"output": Y_PRED, "second": tf.constant([[1.0], [1.0]])}
    y = {"output": Y, "second": tf.constant([[0.0], [4.0]])}
    per_output = loss("per_output", losses={"output": "mae", "second": "mse"}, weights={"second": 2.0})
    assert per_output(y, both).numpy().tolist() == [2.0 + 2 * 1.0, 1.0 + 2 * 9.0]


@pytest.mark.parametrize(
    ("name", "tasks", "params", "message"),
    [
        ("mse", {"output": "classification"}, {}, "loss: mse is for regression, and its target for classification"),
        ("mse", {"output": "regression", "kind": "classification"}, {}, "loss: of target 'kind': mse is for"),
        (
            "per_output",
            {"output": "regression", "kind": "classification"},
            {"losses": {"output": "mse", "kind": "huber"}},
            r"loss\.losses\.kind: huber is for regression, and its target for classification",
        ),
    ],
)
def test_a_loss_for_another_task_is_refused(name: str, tasks: Any, params: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loss(name, tasks=tasks, **params)


def metrics(settings: dict[str, MetricSettings], y: Any = Y, y_pred: Any = Y_PRED, **targets: FittedTarget) -> Any:
    targets = targets or {"output": NUMBER}
    tasks = {name: target.task for name, target in targets.items()}
    return build_metrics(settings, CATALOG, y_true=y, y_pred=y_pred, targets=targets, tasks=tasks)


def test_metrics_are_named_by_their_keys_and_begin_empty() -> None:
    built = metrics({"error": MetricSettings("mae", {}, "output"), "mse": MetricSettings("mse", {}, "output")})
    assert [metric.name for metric in built.all] == ["loss", "error", "mse"]
    assert all(np.isnan(float(metric.result())) for metric in built.metrics)  # the mean of no rows
    built.update(Y, Y_PRED, None)
    assert [float(metric.result()) for metric in built.metrics] == [1.5, 2.5]


def test_metrics_are_in_the_unit_of_their_target() -> None:
    scaled = FittedTarget("regression", mean=10.0, standard_deviation=4.0)
    built = metrics({"mae": MetricSettings("mae", {}, "output")}, output=scaled)
    built.update(Y, Y_PRED, None)
    assert float(built.metrics[0].result()) == 4 * 1.5


def test_an_output_that_the_model_lacks_is_refused() -> None:
    both = {"output": Y_PRED, "second": Y_PRED}
    with pytest.raises(ConfigError, match=r"metric\.mae\.output: unknown output of the model.*Did you mean 'second'\?"):
        metrics({"mae": MetricSettings("mae", {}, "secnd")}, y_pred=both)


def test_a_metric_for_another_task_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"metric\.a: accuracy is for classification, and its target for regression"):
        metrics({"a": MetricSettings("accuracy", {}, "output")})


def squared(y: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    return tf.square(y_pred - y)[:, 0]


@pytest.mark.parametrize(
    ("function", "y_pred", "targets", "message"),
    [
        (squared, tf.zeros([2, 3]), {"output": NUMBER}, r"its output must have the shape \(batch, 1\).*\(2, 3\)"),
        (squared, tf.zeros([2]), {"output": NUMBER}, r"its output must have the shape \(batch, 1\).*\(2,\)"),
        (squared, Y_PRED, {"output": NUMBER, "sold": NUMBER}, "has none for sold.*Use model=multi_task"),
        (lambda y, y_pred: tf.reduce_mean(y_pred - y), Y_PRED, {"output": NUMBER}, r"shape \(2,\)\. Received: \(\)"),
        (lambda y, y_pred: y_pred - tf.transpose(y), Y_PRED, {"output": NUMBER}, r"Received: \(2, 2\)"),
        (lambda y, y_pred: tf.cast(squared(y, y_pred), tf.float64), Y_PRED, {"output": NUMBER}, "must give float32"),
        (lambda y, y_pred: y_pred[:, 0] + tf.constant(1, tf.int32), Y_PRED, {"output": NUMBER}, "loss: x mixes"),
    ],
)
def test_wrong_shapes_are_refused(function: Any, y_pred: Any, targets: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_outputs(function, "loss: x", y_true=np.asarray(Y), y_pred=y_pred, targets=targets)


def test_right_shapes_are_accepted() -> None:
    classes = FittedTarget("classification", ["a", "b", "c"])
    ids, logits = np.array([[0], [2]], np.int32), tf.zeros([2, 3])
    crossentropy = build_loss(ComponentSettings("sparse_categorical_crossentropy", {}), CATALOG)
    check_outputs(crossentropy, "loss", y_true=ids, y_pred=logits, targets={"output": classes})


def test_errors_of_tensorflow_get_the_name_of_their_component() -> None:
    with pytest.raises(ConfigError, match="metric: x mixes what can't be computed together: .*"), naming("metric: x"):
        tf.zeros([2]) + tf.zeros([3])
    assert keras.config.floatx() == "float32"
