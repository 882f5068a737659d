"""Loops over a Keras model: fit(), and the loops that people write by hand. Each function turns a setup into a `Train`.

All but `eager` are compiled in the first call of the returned function.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.setup import EVALUATION_ROWS, Data, Setup, Train, batches, select
from tfrun.engine.training.step import gather


def fit(setup: Setup, *, jit: bool | str = "auto", steps_per_execution: int = 1, gathered: bool = False) -> Train:
    """Keras' own loop.

    Args:
        setup: what to train.
        jit: Keras' jit_compile; if it is set, validation gets batches as large as tfrun's too.
        steps_per_execution: Keras' setting.
        gathered: whether tf.data gathers whole batches and feeds them, instead of fit() getting arrays.
    """
    setup.model.compile(
        setup.optimizer(),
        setup.loss,
        metrics=setup.metrics,
        jit_compile=jit,
        steps_per_execution=steps_per_execution,
    )
    options: dict[str, Any] = {"verbose": 0}
    if jit != "auto":
        options["validation_batch_size"] = EVALUATION_ROWS

    def train(data: Data, val: Data | None, *, epochs: int, shuffle: bool) -> None:
        options.update(epochs=epochs, validation_data=val)
        if gathered:
            setup.model.fit(gathered_batches(data, setup.batch_size, shuffle=shuffle), shuffle=False, **options)
        else:
            x, y = select(data, np.arange(len(data[1]) // setup.batch_size * setup.batch_size))
            setup.model.fit(x, y, batch_size=setup.batch_size, shuffle=shuffle, **options)

    return train


def gathered_batches(data: Data, batch_size: int, *, shuffle: bool) -> tf.data.Dataset:
    """Returns one epoch of batches, each gathered at once by row numbers; every iteration draws a new order."""
    x, y = tf.nest.map_structure(tf.constant, data)
    steps = len(data[1]) // batch_size

    def order(_: tf.Tensor) -> tf.data.Dataset:
        rows = tf.range(len(data[1]))
        rows = tf.random.shuffle(rows) if shuffle else rows
        return tf.data.Dataset.from_tensor_slices(tf.reshape(rows[: steps * batch_size], [steps, batch_size]))

    rows = tf.data.Dataset.range(1).flat_map(order).map(lambda rows: gather((x, y), rows)).prefetch(2)
    return rows.apply(tf.data.experimental.assert_cardinality(steps))


def eager(setup: Setup) -> Train:
    """A hand-written loop: everything in Python, step by step, nothing compiled."""
    random = np.random.default_rng(0)

    def train(data: Data, val: Data | None, *, epochs: int, shuffle: bool) -> None:
        steps = len(data[1]) // setup.batch_size
        for _ in range(epochs):
            order = random.permutation(len(data[1])) if shuffle else np.arange(len(data[1]))
            for x, y in batches(data, setup.batch_size, order[: steps * setup.batch_size]):
                loss = setup.step(x, y)
            for x, y in batches(val, EVALUATION_ROWS) if val else ():
                loss = setup.evaluate(x, y)
            float(loss)
            setup.read_and_reset()

    return train


def per_step(setup: Setup) -> Train:
    """A compiled step, called from Python for each batch of a tf.data.Dataset, as the guides write it."""
    step = tf.function(setup.step)
    evaluate = tf.function(setup.evaluate)

    def train(data: Data, val: Data | None, *, epochs: int, shuffle: bool) -> None:
        rows = tf.data.Dataset.from_tensor_slices(data)
        rows = rows.shuffle(len(data[1])) if shuffle else rows
        rows = rows.batch(setup.batch_size, drop_remainder=True).prefetch(2)
        validation = tf.data.Dataset.from_tensor_slices(val).batch(EVALUATION_ROWS) if val else ()
        for _ in range(epochs):
            for x, y in rows:
                loss = step(x, y)
            for x, y in validation:
                loss = evaluate(x, y)
            float(loss)
            setup.read_and_reset()

    return train


def stream(setup: Setup) -> Train:
    """A loop over an epoch's tf.data iterator inside one graph."""

    @tf.function
    def epoch(iterator: Any, num_steps: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0)
        for _ in tf.range(num_steps):
            x, y = next(iterator)
            total += setup.step(x, y)
        return total

    evaluate = tf.function(setup.evaluate)

    def train(data: Data, val: Data | None, *, epochs: int, shuffle: bool) -> None:
        iterator = iter(gathered_batches(data, setup.batch_size, shuffle=shuffle).repeat())
        for _ in range(epochs):
            float(epoch(iterator, tf.constant(len(data[1]) // setup.batch_size)))
            if val:
                float(evaluate(*val))
            setup.read_and_reset()

    return train


def bare(setup: Setup, *, xla: bool) -> Train:
    """One loop per epoch over tensors on the device; it only sums the losses: no metrics, no validation."""
    batch_size = setup.batch_size
    setup = setup.without_metrics()

    @tf.function(jit_compile=xla)
    def epoch(data: Any, order: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0)
        for k in tf.range(tf.shape(order)[0] // batch_size):
            rows = tf.reshape(tf.slice(order, [k * batch_size], [batch_size]), [batch_size])
            total += setup.step(*gather(data, rows))
        return total

    random = np.random.default_rng(0)

    def train(data: Data, val: Data | None, *, epochs: int, shuffle: bool) -> None:
        resident = tf.nest.map_structure(tf.constant, data)
        rows = np.arange(len(data[1]), dtype="int32")
        for _ in range(epochs):
            float(epoch(resident, tf.constant(random.permutation(rows) if shuffle else rows)))

    return train
