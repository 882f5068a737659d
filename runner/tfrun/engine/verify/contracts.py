"""The contracts: what a component of each kind must do, whoever wrote it. `tfrun check loss=huber` checks them.

A contract is a function that yields findings. It gets `make`, which makes the component anew, as a config would. Inputs
are small and random, from a fixed seed.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.data.encode import dtype_policy
from tfrun.engine.verify.findings import (
    CLOSE,
    Finding,
    check_compiled,
    check_config,
    check_gradient,
    check_rows_apart,
    check_saved,
    collect,
    compare,
    gradient,
    shapes,
)
from tfrun.errors import ConfigError
from tfrun.protocols import ABSENT, InitializerOffer, LayerOffer, LossOffer, MetricOffer

ROWS = 8
FAR = 1e4  # at this distance from 0 formulas overflow that are right near it
DRAWN_SHAPE = (400, 600)  # of an initializer's values: large enough to estimate their variance
VARIANCE_TOLERANCE = 0.05  # relative
OPTIMIZER_STEPS = 20
SCHEDULE_STEPS = 1000

Make = Callable[[], Any]


def check(kind: str, make: Make) -> list[Finding]:
    """Checks a component against its kind's contract.

    Args:
        kind: one of CONTRACTS.
        make: makes the component.

    Raises:
        ConfigError: the component refuses its parameters.
    """
    make()
    return collect(CONTRACTS[kind](make))


def _check_loss(make: Make) -> Iterator[Finding]:
    loss = make()
    call = loss.call if isinstance(loss, keras.losses.Loss) else loss
    for y, y_pred in _accepted(call, LossOffer.of(loss).task or "regression"):
        values = tf.convert_to_tensor(call(y, y_pred))
        yield from _check_loss_values(call, y=y, y_pred=y_pred, values=values)
        if isinstance(loss, keras.losses.Loss):
            yield from _check_loss_object(loss, y=y, y_pred=y_pred, values=values)


def _check_loss_values(call: Callable[..., Any], *, y: tf.Tensor, y_pred: tf.Tensor, values: Any) -> Iterator[Finding]:
    """Checks a loss as a function that returns the examples' values."""

    def loss_of(y_pred: tf.Tensor) -> tf.Tensor:
        return call(tf.cast(y, y_pred.dtype) if y.dtype.is_floating else y, y_pred)

    numbers = f"{shapes(y)} and {shapes(y_pred)} give {shapes(values)}"
    yield Finding("returns a value for each example", values.shape in ((ROWS,), y_pred.shape), numbers)
    rolled = tf.roll(call(tf.roll(y, 1, axis=0), tf.roll(y_pred, 1, axis=0)), -1, axis=0)
    promise = "in another order of the rows, each example has the same value"
    yield compare(promise, rolled, expected=values, tolerance=CLOSE)
    yield check_rows_apart(loss_of, y_pred, result="value")
    yield from check_compiled(loss_of, y_pred)
    yield check_gradient(loss_of, tf.cast(y_pred, tf.float64))
    is_finite = np.isfinite(gradient(loss_of, FAR * y_pred)).all()
    yield Finding("gradients are finite for huge errors", bool(is_finite), f"predictions × {FAR:g}")


def _check_loss_object(
    loss: keras.losses.Loss, *, y: tf.Tensor, y_pred: tf.Tensor, values: tf.Tensor
) -> Iterator[Finding]:
    """Checks what a Keras loss does beside returning the examples' values: their mean, weights, its config."""
    per_example = np.asarray(values).reshape(ROWS, -1).mean(axis=1)
    weights = np.linspace(0.0, 2.0, ROWS, dtype="float32")
    yield compare("called as a whole, it returns the examples' mean", loss(y, y_pred), expected=per_example.mean())
    weighted = loss(y, y_pred, sample_weight=tf.constant(weights))
    promise = "a sample weight multiplies its example's value"
    yield compare(promise, weighted, expected=(weights * per_example).mean())
    yield from check_config(loss, lambda loss: loss.call(y, y_pred))


def _check_metric(make: Make) -> Iterator[Finding]:
    def new_metric() -> keras.metrics.Metric:
        metric = make()
        return metric if isinstance(metric, keras.metrics.Metric) else keras.metrics.MeanMetricWrapper(metric)

    def result(*batches: tuple[Any, ...]) -> float:
        metric = new_metric()
        for y, y_pred, weights in batches:
            metric.update_state(y, y_pred, sample_weight=weights)
        return float(metric.result())

    task = MetricOffer.of(make()).task or "regression"
    for y, y_pred in _accepted(lambda y, y_pred: new_metric().update_state(y, y_pred), task):
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
        tf.function(metric.update_state, jit_compile=True, autograph=False)(y, y_pred)
        promise = "compiled by XLA, it returns the same as in Python"
        yield compare(promise, metric.result(), expected=whole, tolerance=CLOSE)
    if isinstance(make(), keras.metrics.Metric):
        yield from check_config(make())


def _check_layer(make: Make) -> Iterator[Finding]:
    layer = make()
    inputs = _inputs_of(layer, make)
    layer(inputs)  # builds it
    outputs = layer(inputs, training=False)

    def infer(x: Any) -> Any:
        return layer(x, training=False)

    def outputs_with_same_weights(other: Any) -> Any:
        other(inputs)
        other.set_weights(layer.get_weights())
        return other(inputs, training=False)

    is_finite = all(np.isfinite(np.asarray(output, "float64")).all() for output in tf.nest.flatten(outputs))
    yield Finding("outputs are finite", is_finite, f"{shapes(inputs)} give {shapes(outputs)}")
    if type(layer).compute_output_shape is not keras.layers.Layer.compute_output_shape:
        shape = tuple(layer.compute_output_shape(tf.nest.map_structure(lambda part: tuple(part.shape), inputs)))
        yield Finding("compute_output_shape returns their shape", shape == tuple(outputs.shape), f"it returns {shape}")
    promise = "outside training, the same inputs always give the same outputs"
    yield compare(promise, infer(inputs), expected=outputs, tolerance=0.0)
    yield from check_compiled(infer, inputs)
    if tf.is_tensor(inputs) and outputs.dtype.is_floating:
        yield check_rows_apart(infer, inputs, result="output")
    if tf.is_tensor(inputs) and inputs.dtype.is_floating and outputs.dtype.is_floating:
        yield _check_layer_gradient(make, inputs)
    if layer.trainable_variables:
        yield _check_weights_are_used(layer, inputs)
    yield from check_config(layer, outputs_with_same_weights)
    if tf.is_tensor(inputs):
        symbolic = keras.Input(inputs.shape[1:], dtype=inputs.dtype.name)
        yield check_saved(keras.Model(symbolic, layer(symbolic)), inputs, outputs=outputs)


def _check_layer_gradient(make: Make, inputs: tf.Tensor) -> Finding:
    """Checks a layer's gradient in float64, since finite differences need the digits."""
    with dtype_policy("float64"):
        layer = make()
        x = tf.cast(inputs, tf.float64)
        layer(x)
        return check_gradient(lambda x: layer(x, training=False), x)


def _check_weights_are_used(layer: keras.layers.Layer, inputs: Any) -> Finding:
    """Checks that the outputs depend on every trainable weight."""
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.square(layer(inputs, training=True)))
    weights = layer.trainable_variables
    gradients = tape.gradient(total, [weight.value for weight in weights])
    unused = [weight.path for weight, slope in zip(weights, gradients, strict=True) if slope is None]
    return Finding("every trainable weight gets a gradient", not unused, ", ".join(unused))


def _check_activation(make: Make) -> Iterator[Finding]:
    activation = make()
    x = _normal(ROWS, 6)
    y = tf.convert_to_tensor(activation(x))
    yield Finding("keeps shape and dtype", (y.shape, y.dtype) == (x.shape, x.dtype), f"{y.dtype.name} {shapes(y)}")
    yield from check_compiled(activation, x)
    yield check_gradient(activation, tf.cast(x, tf.float64))
    far = tf.constant([-FAR, -100.0, -1.0, 0.0, 1.0, 100.0, FAR])
    is_finite = np.isfinite([activation(far), gradient(activation, far)]).all()
    yield Finding(f"values and gradients are finite from −{FAR:g} to {FAR:g}", bool(is_finite))
    yield from check_config(activation, lambda activation: activation(x))


def _check_initializer(make: Make) -> Iterator[Finding]:
    initializer = make()
    for dtype in ("float32", "float64"):
        drawn = tf.convert_to_tensor(initializer(DRAWN_SHAPE, dtype=dtype))
        is_right = (drawn.dtype.name, tuple(drawn.shape)) == (dtype, DRAWN_SHAPE)
        yield Finding(f"returns the requested shape in {dtype}", is_right, f"{drawn.dtype.name} {shapes(drawn)}")
    values = np.asarray(initializer(DRAWN_SHAPE), "float64")
    numbers = f"mean {values.mean():.2g}, variance {values.var():.4g} for {DRAWN_SHAPE}"
    yield Finding("values are finite", bool(np.isfinite(values).all()), numbers)
    offer = InitializerOffer.of(initializer)
    if offer.variance is not None:
        variance = offer.variance(*DRAWN_SHAPE)
        has_variance = abs(values.var() / variance - 1) < VARIANCE_TOLERANCE
        is_kept = has_variance and abs(values.mean()) < 5 * math.sqrt(variance / values.size)
        numbers = f"{values.var():.4g}, returned {variance:.4g}"
        yield Finding("values have mean 0 and the variance that its `variance` returns", is_kept, numbers)
    if values.std() > 0 and offer.seed is not ABSENT:
        is_same = np.array_equal(values, np.asarray(initializer(DRAWN_SHAPE), "float64"))
        promise = "each call draws new values" if offer.seed is None else "its seed gives the same values again"
        yield Finding(promise, is_same == (offer.seed is not None))
    yield from check_config(initializer)


def _check_regularizer(make: Make) -> Iterator[Finding]:
    regularizer = make()
    weights = _normal(6, 4)
    value = tf.convert_to_tensor(regularizer(weights))
    yield Finding("returns a scalar, at least 0", value.shape == () and float(value) >= 0, f"{float(value):.4g}")
    yield from check_compiled(regularizer, weights)
    yield check_gradient(regularizer, tf.cast(weights, tf.float64))
    yield from check_config(regularizer, lambda regularizer: regularizer(weights))


def _check_constraint(make: Make) -> Iterator[Finding]:
    constraint = make()
    weights = 3.0 * _normal(6, 4)
    constrained = tf.convert_to_tensor(constraint(weights))
    is_like_weights = (constrained.shape, constrained.dtype) == (weights.shape, weights.dtype)
    yield Finding("keeps shape and dtype", is_like_weights, shapes(constrained))
    yield compare("applied again, it changes nothing", constraint(constrained), expected=constrained)
    yield from check_compiled(constraint, weights)
    yield from check_config(constraint, lambda constraint: constraint(weights))


def _check_optimizer(make: Make) -> Iterator[Finding]:
    def train(compile: Callable[[Any], Any]) -> tuple[list[float], np.ndarray]:
        """Returns the losses of some steps and the weights after them."""
        optimizer = make()
        weights = keras.Variable([[3.0, -2.0], [1.0, 0.5]], name="w")
        optimizer.build([weights])

        def step() -> tf.Tensor:
            with tf.GradientTape() as tape:
                total = tf.reduce_sum(tf.square(weights.value))
            optimizer.apply([tape.gradient(total, weights.value)], [weights])
            return total

        run = compile(step)
        return [float(run()) for _ in range(OPTIMIZER_STEPS)], weights.numpy()

    losses, weights = train(lambda step: step)
    numbers = f"{losses[0]:.6g} to {losses[-1]:.6g}"
    yield Finding(f"{OPTIMIZER_STEPS} steps reduce ‖w‖²", losses[-1] < losses[0], numbers)
    _, weights_of_xla = train(lambda step: tf.function(step, jit_compile=True, autograph=False))
    promise = "compiled by XLA, it takes the same steps as in Python"
    yield compare(promise, weights_of_xla, expected=weights, tolerance=CLOSE)
    optimizer = make()
    optimizer.learning_rate = 0.123
    yield compare("its learning rate can be set", optimizer.learning_rate, expected=0.123)
    yield from check_config(optimizer)


def _check_schedule(make: Make) -> Iterator[Finding]:
    schedule = make()
    offered = {"total_steps": SCHEDULE_STEPS, "steps_per_epoch": SCHEDULE_STEPS // 10}
    accepted = inspect.signature(schedule).parameters
    filled_in = {name: value for name, value in offered.items() if name in accepted}
    factor = tf.function(lambda step: tf.convert_to_tensor(schedule(step=step, **filled_in)), autograph=False)
    steps = (0, 1, SCHEDULE_STEPS // 2, SCHEDULE_STEPS - 1, SCHEDULE_STEPS, 2 * SCHEDULE_STEPS)
    factors = {step: factor(tf.constant(step, tf.int64)) for step in steps}
    is_right = all(value.shape == () and np.isfinite(value) and value >= 0 for value in factors.values())
    numbers = ", ".join(f"{step}: {float(value):.4g}" for step, value in factors.items())
    yield Finding("returns a finite factor, at least 0, at every step", is_right, numbers)


CONTRACTS: dict[str, Callable[[Make], Iterator[Finding]]] = {
    "activation": _check_activation,
    "constraint": _check_constraint,
    "initializer": _check_initializer,
    "layer": _check_layer,
    "loss": _check_loss,
    "metric": _check_metric,
    "optimizer": _check_optimizer,
    "regularizer": _check_regularizer,
    "schedule": _check_schedule,
}


def _normal(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).standard_normal(shape), "float32")


def _accepted(call: Callable[..., Any], task: str) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Returns those targets and predictions of a task that a loss or a metric accepts; all if it accepts none."""
    random = np.random.default_rng(1)
    classes = [tf.constant(random.permutation(np.arange(ROWS)[:, None] % count)) for count in (2, 3)]
    batches = {
        "regression": [(tf.constant(random.standard_normal((ROWS, 1)), "float32"), _normal(ROWS, 1))],
        "classification": [
            (tf.cast(classes[0], "float32"), _normal(ROWS, 1)),
            (tf.cast(classes[1], "int32"), _normal(ROWS, 3)),
        ],
    }[task]
    accepted = []
    for y, y_pred in batches:
        with contextlib.suppress(ConfigError):  # it is for another number of classes
            call(y, y_pred)
            accepted.append((y, y_pred))
    return accepted or batches


def _inputs_of(layer: Any, make: Make) -> Any:
    """Returns a layer's own example inputs, if any, or else rows or sequences, whichever it accepts."""
    example_inputs = LayerOffer.of(layer).example_inputs
    if example_inputs is not None:
        return example_inputs()
    rows = _normal(ROWS, 6)
    try:
        make()(rows)
        return rows
    except (ValueError, TypeError, IndexError, tf.errors.InvalidArgumentError):
        return _normal(ROWS, 5, 6)
