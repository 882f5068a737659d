"""The contracts of what is computed from targets and predictions: losses, metrics."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.engine.building.autograph import convertible
from tfrun.engine.verify.findings import (
    CLOSE,
    FAR,
    ROWS,
    Finding,
    Make,
    check_compiled,
    check_config,
    check_gradient,
    compare,
    gradient,
    normal,
    shapes,
)
from tfrun.errors import ConfigError
from tfrun.protocols import LossOffer, MetricOffer

FIRST_ROWS = 4  # their values must stay the same when the other rows are left out


def check_loss(make: Make) -> Iterator[Finding]:
    """Checks a loss, with targets and predictions of its task."""
    loss = make()
    call = convertible(loss.call if isinstance(loss, keras.losses.Loss) else loss)
    for y, y_pred in _accepted(call, LossOffer.of(loss).task or "regression"):
        returned = call(y, y_pred)
        if returned is None:
            yield Finding("returns a value for each example", False, "None")
            return
        values = tf.convert_to_tensor(returned)
        numbers = f"{shapes(y)} and {shapes(y_pred)} give {shapes(values)}"
        yield Finding("returns a value for each example", values.shape in ((ROWS,), y_pred.shape), numbers)
        if values.shape[:1] != (ROWS,):
            return  # all other promises are about the values of examples
        yield from _check_loss_values(call, y=y, y_pred=y_pred, values=values)
        if isinstance(loss, keras.losses.Loss):
            yield from _check_loss_object(loss, y=y, y_pred=y_pred, values=values)


def _check_loss_values(call: Callable[..., Any], *, y: tf.Tensor, y_pred: tf.Tensor, values: Any) -> Iterator[Finding]:
    """Checks a loss as a function that returns the examples' values."""

    def loss_of(y_pred: tf.Tensor) -> tf.Tensor:
        return call(tf.cast(y, y_pred.dtype) if y.dtype.is_floating else y, y_pred)

    rolled = tf.roll(call(tf.roll(y, 1, axis=0), tf.roll(y_pred, 1, axis=0)), -1, axis=0)
    promise = "in another order of the rows, each example has the same value"
    yield compare(promise, rolled, expected=values, tolerance=CLOSE)
    others = [
        call(y, _with_last(y_pred, y_pred[-1:] + 0.5)),
        call(_with_last(y, _other_target(y)), y_pred),
        call(y[:FIRST_ROWS], y_pred[:FIRST_ROWS]),
    ]
    first = [tf.convert_to_tensor(part)[:FIRST_ROWS] for part in others]
    promise = "an example's value depends only on its own row"
    yield compare(promise, first, expected=[values[:FIRST_ROWS]] * len(first), tolerance=CLOSE)
    targets_matter = np.any(np.asarray(call(tf.roll(y, 1, axis=0), y_pred)) != np.asarray(values))
    yield Finding("the value depends on the target", bool(targets_matter))
    yield from check_compiled(loss_of, y_pred)
    yield check_gradient(loss_of, tf.cast(y_pred, tf.float64))
    yield Finding("the gradient isn't 0 everywhere", bool(np.any(gradient(loss_of, y_pred))))
    promise = "values and gradients are finite for huge errors"
    yield Finding(promise, _are_finite(loss_of, FAR * y_pred), f"predictions × {FAR:g}")
    promise = "values and gradients are finite where the prediction is exactly right"
    yield Finding(promise, _are_finite(loss_of, _exactly_right(y, y_pred)))


def _are_finite(loss_of: Callable[[tf.Tensor], tf.Tensor], y_pred: tf.Tensor) -> bool:
    """Returns whether a loss and its gradient are finite for predictions."""
    return bool(np.isfinite(np.asarray(loss_of(y_pred))).all() and np.isfinite(gradient(loss_of, y_pred)).all())


def _exactly_right(y: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """Returns predictions without any error: the numbers themselves, or logits far on the right side."""
    if not y.dtype.is_floating:
        return FAR * tf.one_hot(y[:, 0], y_pred.shape[-1], dtype=y_pred.dtype)
    is_label = np.isin(y, (0.0, 1.0)).all()
    return tf.cast(FAR * (2.0 * y - 1.0) if is_label else y, y_pred.dtype)


def _with_last(rows: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """Returns rows with another last one, (1, …)."""
    return tf.concat([rows[:-1], last], axis=0)


def _other_target(y: tf.Tensor) -> tf.Tensor:
    """Returns a target, (1, 1), that isn't the last one of `y`."""
    row = int(np.argmax(np.asarray(y)[:, 0] != np.asarray(y)[-1, 0]))
    return y[row : row + 1]


def _check_loss_object(
    loss: keras.losses.Loss, *, y: tf.Tensor, y_pred: tf.Tensor, values: tf.Tensor
) -> Iterator[Finding]:
    """Checks what a Keras loss does beside returning the examples' values: their mean, weights, its config."""
    per_example = np.asarray(values).reshape(ROWS, -1).mean(axis=1)
    weights = np.linspace(0.0, 2.0, ROWS, dtype=values.dtype.name)
    yield compare("called as a whole, it returns the examples' mean", loss(y, y_pred), expected=per_example.mean())
    weighted = loss(y, y_pred, sample_weight=tf.constant(weights))
    promise = "a sample weight multiplies its example's value"
    yield compare(promise, weighted, expected=(weights * per_example).mean())
    yield from check_config(loss, lambda loss: loss.call(y, y_pred))


def check_metric(make: Make) -> Iterator[Finding]:
    """Checks a metric, with targets and predictions of its task."""

    def new_metric() -> keras.metrics.Metric:
        metric = make()
        if not isinstance(metric, keras.metrics.Metric):
            return keras.metrics.MeanMetricWrapper(convertible(metric))
        return metric

    given = make()
    is_function = not isinstance(given, keras.metrics.Metric)
    call = given if is_function else lambda y, y_pred: new_metric().update_state(y, y_pred)
    for y, y_pred in _accepted(call, MetricOffer.of(given).task or "regression"):
        if is_function and given(y, y_pred) is None:
            yield Finding("returns a value for each example", False, "None")
            return
        metric = new_metric()
        metric.update_state(y, y_pred)
        value = np.asarray(metric.result())
        is_number = value.shape == () and value.dtype.kind in "fiu" and bool(np.isfinite(value))
        yield Finding("result is a finite number", is_number, f"{value!s}")
        if not is_number:
            return
        yield from _check_metric_values(new_metric, y, y_pred=y_pred)
    if not is_function:
        yield from check_config(make())


def _check_metric_values(
    new_metric: Callable[[], keras.metrics.Metric], y: tf.Tensor, *, y_pred: tf.Tensor
) -> Iterator[Finding]:
    """Checks what a metric makes of rows, their weights and their batches."""

    def result(*batches: tuple[Any, ...]) -> float:
        metric = new_metric()
        for y, y_pred, weights in batches:
            metric.update_state(y, y_pred, sample_weight=weights)
        return float(metric.result())

    whole = result((y, y_pred, None))
    batches = [(y[start:end], y_pred[start:end], None) for start, end in ((0, 1), (1, 4), (4, ROWS))]
    yield compare("the result doesn't depend on how the rows are batched", result(*batches), expected=whole)
    with_ones = result((y, y_pred, tf.ones([ROWS])))
    yield compare("sample weights of 1 change nothing", with_ones, expected=whole)
    weighted = result((y, y_pred, tf.constant([2.0, 0.0] + [1.0] * (ROWS - 2))))
    rows = [0, 0, *range(2, ROWS)]
    repeated = result((tf.gather(y, rows), tf.gather(y_pred, rows), None))
    yield compare("a sample weight of 2 counts a row twice, 0 leaves it out", weighted, expected=repeated)
    metric = new_metric()
    metric.update_state(y[:4], y_pred[:4])
    metric.reset_state()
    metric.update_state(y, y_pred)
    yield compare("reset_state() forgets all rows", metric.result(), expected=whole)
    metric = new_metric()
    tf.function(convertible(metric.update_state), jit_compile=True, autograph=False)(y, y_pred)
    promise = "compiled by XLA, it returns the same as in Python"
    yield compare(promise, metric.result(), expected=whole, tolerance=CLOSE)


def _accepted(call: Callable[..., Any], task: str) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Returns those targets and predictions of a task that a loss or a metric accepts; all if it accepts none."""
    random = np.random.default_rng(1)
    floats = keras.config.floatx()
    classes = [tf.constant(random.permutation(np.arange(ROWS)[:, None] % count)) for count in (2, 3)]
    batches = {
        "regression": [(tf.constant(random.standard_normal((ROWS, 1)), floats), normal(ROWS, 1))],
        "classification": [
            (tf.cast(classes[0], floats), normal(ROWS, 1)),
            (tf.cast(classes[1], "int32"), normal(ROWS, 3)),
        ],
    }[task]
    accepted = []
    for y, y_pred in batches:
        with contextlib.suppress(ConfigError):  # it is for another number of classes
            call(y, y_pred)
            accepted.append((y, y_pred))
    return accepted or batches
