"""The contracts: what a component of each kind must do, whoever wrote it. `tfrun check loss=huber` checks them.

A contract is a function that yields findings. It gets `make`, which makes the component anew, as a config would. Inputs
are small and random, from a fixed seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.data.layers import dtype_policy
from tfrun.engine.training.augmentation import Augmentation, Draws
from tfrun.engine.verify.findings import (
    FAR,
    ROWS,
    Finding,
    Make,
    check_compiled,
    check_config,
    check_gradient,
    check_rows_apart,
    check_saved,
    collect,
    compare,
    gradient,
    normal,
    shapes,
)
from tfrun.engine.verify.loss_contracts import check_loss, check_metric
from tfrun.engine.verify.optimizer_contracts import check_optimizer, check_schedule
from tfrun.protocols import ABSENT, AugmentationOffer, InitializerOffer, LayerOffer

IMAGE = (12, 10, 3)  # that augmentations are tried on
DRAWN_SHAPE = (400, 600)  # of an initializer's values: large enough to estimate their variance
VARIANCE_TOLERANCE = 0.05  # relative


def check(kind: str, make: Make) -> list[Finding]:
    """Checks a component against its kind's contract.

    Args:
        kind: one of CONTRACTS.
        make: makes the component; an optimizer with the learning rate that it gets, if any.

    Raises:
        ConfigError: the component refuses its parameters.
    """
    make()
    return collect(CONTRACTS[kind](make))


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
    x = normal(ROWS, 6, dtype=keras.config.dtype_policy().compute_dtype)
    y = tf.convert_to_tensor(activation(x))
    yield Finding("keeps shape and dtype", (y.shape, y.dtype) == (x.shape, x.dtype), f"{y.dtype.name} {shapes(y)}")
    yield from check_compiled(activation, x)
    yield check_gradient(activation, tf.cast(x, tf.float64))
    far = tf.constant([-FAR, -100.0, -1.0, 0.0, 1.0, 100.0, FAR], x.dtype)
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
    weights = normal(6, 4)
    value = tf.convert_to_tensor(regularizer(weights))
    is_penalty = value.shape == () and float(value) >= 0
    yield Finding("returns a scalar, at least 0", is_penalty, f"{value.numpy():.4g}" if is_penalty else shapes(value))
    if value.shape != ():
        return
    yield from check_compiled(regularizer, weights)
    yield check_gradient(regularizer, tf.cast(weights, tf.float64))
    yield from check_config(regularizer, lambda regularizer: regularizer(weights))


def _check_constraint(make: Make) -> Iterator[Finding]:
    constraint = make()
    weights = 3.0 * normal(6, 4)
    constrained = tf.convert_to_tensor(constraint(weights))
    is_like_weights = (constrained.shape, constrained.dtype) == (weights.shape, weights.dtype)
    yield Finding("keeps shape and dtype", is_like_weights, shapes(constrained))
    yield compare("applied again, it changes nothing", constraint(constrained), expected=constrained)
    yield from check_compiled(constraint, weights)
    yield from check_config(constraint, lambda constraint: constraint(weights))


def _check_augmentation(make: Make) -> Iterator[Finding]:
    augmentation = make()
    mixes = AugmentationOffer.of(augmentation).mixes
    change = Augmentation(augmentation, mixes)
    images = tf.nn.sigmoid(normal(ROWS, *IMAGE))  # from 0 to 1, as they are scaled

    def changed(seed: tf.Tensor, images: tf.Tensor = images) -> Any:
        values, share = change(images, lambda: Draws(tf.cast(seed, tf.uint32), ROWS, share=lambda tensor: tensor))
        return (values, share) if mixes else values

    seed = tf.constant([1, 2], tf.int64)
    expected = changed(seed)
    values = expected[0] if mixes else expected
    is_like = (values.shape, values.dtype) == (images.shape, images.dtype)
    yield Finding("keeps shape and dtype", is_like, f"{values.dtype.name} {shapes(values)}")
    yield Finding("values are finite", bool(np.isfinite(values).all()))
    yield compare("the same draws give the same values", changed(seed), expected=expected, tolerance=0.0)
    others = tf.nest.flatten(changed(seed + 2))[0]
    yield Finding("other draws give other values", not np.array_equal(others, values))
    if mixes:
        share = expected[1].numpy()
        is_share = share.shape == (ROWS,) and ((share >= 0) & (share <= 1)).all()
        yield Finding("a share from 0 to 1 for each row", bool(is_share), shapes(share))
    else:
        yield check_rows_apart(lambda images: changed(seed, images), images, result="augmented copy")
    yield from check_compiled(changed, seed)


CONTRACTS: dict[str, Callable[[Make], Iterator[Finding]]] = {
    "activation": _check_activation,
    "augmentation": _check_augmentation,
    "constraint": _check_constraint,
    "initializer": _check_initializer,
    "layer": _check_layer,
    "loss": check_loss,
    "metric": check_metric,
    "optimizer": check_optimizer,
    "regularizer": _check_regularizer,
    "schedule": check_schedule,
}


def _inputs_of(layer: Any, make: Make) -> Any:
    """Returns a layer's own example inputs, if any, or else rows or sequences, whichever it accepts."""
    example_inputs = LayerOffer.of(layer).example_inputs
    if example_inputs is not None:
        return example_inputs()
    rows = normal(ROWS, 6)
    try:
        make()(rows)
        return rows
    except (ValueError, TypeError, IndexError, tf.errors.InvalidArgumentError):
        return normal(ROWS, 5, 6)
