"""Builds what a contender trains with tfrun's own code: model, optimizers, metrics and rows; each gets its own copy."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.config import disable_op_determinism

from tfrun.config import schema
from tfrun.config.catalog import Catalog
from tfrun.config.compose import open_configs
from tfrun.config.settings import Settings
from tfrun.data.sources import load_table
from tfrun.engine.building.assembly import build_pieces

EVALUATION_ROWS = 1024  # tfrun's number; every loop that may choose uses it too
KERAS_LOSSES = {
    "binary_crossentropy": lambda: keras.losses.BinaryCrossentropy(from_logits=True),
    "huber": keras.losses.Huber,
    "sparse_categorical_crossentropy": lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
}

Data = tuple[Any, Any]  # inputs and targets


class Train(Protocol):
    """A loop that is ready to train."""

    def __call__(self, data: Data, val: Data | None, *, epochs: int, shuffle: bool) -> None:
        """Trains on the rows for some epochs; validates after each one unless `val` is None."""


@dataclass(frozen=True, repr=False, kw_only=True)  # no repr: TensorFlow's warnings would print all rows
class Setup:
    """A contender's own copy of the model and of everything that trains it.

    Attributes:
        model: with its initial weights.
        loss: (y, y_pred) → the loss of each example.
        metrics, val_metrics: of training and of validation.
        optimizers: each with its variables.
        train, val: the rows of the splits.
        first_epoch: training rows in the order of tfrun's first epoch.
        batch_size: rows of a step.
    """

    model: keras.Model
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    metrics: list[keras.metrics.Metric]
    val_metrics: list[keras.metrics.Metric]
    optimizers: list[tuple[keras.optimizers.Optimizer, list[keras.Variable]]]
    train: Data
    val: Data
    first_epoch: Data
    batch_size: int

    @property
    def steps_per_epoch(self) -> int:
        return len(self.train[1]) // self.batch_size

    def optimizer(self) -> keras.optimizers.Optimizer:
        """Returns one optimizer for fit(): Keras' MultiOptimizer if there are several."""
        if len(self.optimizers) == 1:
            return self.optimizers[0][0]
        owners = {variable.path: optimizer for optimizer, variables in self.optimizers for variable in variables}
        return keras.optimizers.MultiOptimizer(lambda variable: owners[variable.path])

    def step(self, x: Any, y: tf.Tensor) -> tf.Tensor:
        """Trains on one batch and returns its loss."""
        with tf.GradientTape() as tape:
            y_pred = self.model(x, training=True)
            loss = tf.reduce_mean(self.loss(y, y_pred))
        all_variables = [variable for _, variables in self.optimizers for variable in variables]
        gradients = tape.gradient(loss, [variable.value for variable in all_variables])
        # of a table as a whole: where an id is repeated, Keras' AdaGrad would add up the squares of its parts
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        start = 0
        for optimizer, variables in self.optimizers:
            optimizer.apply(gradients[start : start + len(variables)], variables)
            start += len(variables)
        for metric in self.metrics:
            metric.update_state(y, y_pred)
        return loss

    def evaluate(self, x: Any, y: tf.Tensor) -> tf.Tensor:
        """Updates the validation metrics with one batch and returns the sum of its losses."""
        y_pred = self.model(x, training=False)
        for metric in self.val_metrics:
            metric.update_state(y, y_pred)
        return tf.reduce_sum(self.loss(y, y_pred))

    def read_and_reset(self) -> None:
        """Reads an epoch's metrics, for which the host waits, and resets them."""
        for metric in [*self.metrics, *self.val_metrics]:
            float(metric.result())
            metric.reset_state()

    def without_metrics(self) -> Setup:
        """Returns the same setup without metrics."""
        return replace(self, metrics=[], val_metrics=[])


def build(overrides: Sequence[str]) -> Setup:
    """Builds what tfrun would train for the same overrides."""
    settings, catalog = _composed(tuple(overrides))
    pieces = build_pieces(settings, catalog, table=load_table(settings.data, catalog))
    disable_op_determinism()
    data = (pieces.examples.inputs, pieces.examples.targets)
    step = pieces.parts.step
    return Setup(
        model=pieces.parts.model,
        loss=step.loss,
        metrics=step.metrics.metrics,
        val_metrics=pieces.parts.val_metrics.metrics,
        optimizers=[(group.optimizer, group.variables) for group in step.active],
        train=select(data, pieces.examples.splits["train"]),
        val=select(data, pieces.examples.splits["val"]),
        first_epoch=select(data, pieces.order.block(0, pieces.order.steps_per_epoch)),
        batch_size=pieces.order.batch_size,
    )


@functools.cache  # most contenders train the same config
def _composed(overrides: tuple[str, ...]) -> tuple[Settings, Catalog]:
    overrides = (*overrides, "trainer.threads=null")  # the other contenders have TensorFlow's default
    with open_configs(overrides) as hydra:
        return schema.build_settings(hydra.compose(overrides).config, hydra.catalog, overrides=overrides), hydra.catalog


def select(data: Any, rows: np.ndarray) -> Any:
    """Returns the rows with these numbers, of every array."""
    return tf.nest.map_structure(lambda array: array[rows], data)


def batches(data: Data, size: int, order: np.ndarray | None = None) -> Iterator[Data]:
    """Yields batches of tensors; `order` has the row numbers, all rows in their order if it is None."""
    rows = np.arange(len(data[1])) if order is None else order
    for start in range(0, len(rows), size):
        yield tf.nest.map_structure(tf.constant, select(data, rows[start : start + size]))


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The losses of a plain eager epoch with Keras' own loss; every contender has to reach the same.

    Attributes:
        overrides: of the model and the rows that it trained.
        loss: Keras' loss, which returns a batch's mean.
        train_loss: the mean over the epoch's batches.
        val_loss: over the validation rows after the epoch.
    """

    overrides: Sequence[str]
    loss: keras.losses.Loss
    train_loss: float
    val_loss: float

    @staticmethod
    def of(overrides: Sequence[str], loss: str) -> Reference:
        """Trains one epoch from the initial weights, in tfrun's order."""
        keras_loss = KERAS_LOSSES[loss]()
        setup = replace(build(overrides).without_metrics(), loss=keras_loss)
        losses = [float(setup.step(x, y)) for x, y in batches(setup.first_epoch, setup.batch_size)]
        return Reference(
            overrides=overrides,
            loss=keras_loss,
            train_loss=statistics.fmean(losses),
            val_loss=val_loss(setup, keras_loss),
        )


def val_loss(setup: Setup, loss: keras.losses.Loss) -> float:
    """Returns the mean loss over the validation rows; `loss` returns a batch's mean."""
    sums = [float(loss(y, setup.model(x, training=False))) * len(y) for x, y in batches(setup.val, EVALUATION_ROWS)]
    return sum(sums) / len(setup.val[1])
