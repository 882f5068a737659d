"""What a contender gets: its own copy of the model, the optimizers, the metrics and the rows, as tfrun builds them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.config import disable_op_determinism

from tfrun.config import schema
from tfrun.config.compose import open_configs
from tfrun.data.table import load_table
from tfrun.engine.building.pieces import build_session

EVALUATION_ROWS = 1024  # tfrun's; whoever may choose gets the same
KERAS_LOSSES = {
    "huber": keras.losses.Huber,
    "sparse_categorical_crossentropy": lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
}

Data = tuple[Any, Any]  # inputs and targets
Train = Callable[[Data, Data | None, int, bool], Any]  # (rows, validation rows, epochs, whether to shuffle) → trains


@dataclass(frozen=True, repr=False)  # TensorFlow's warnings print it, with all its rows
class Setup:
    """A contender's own copy of the model and of what belongs to it; `optimizers` each with its variables."""

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
        """Returns one optimizer for fit(): Keras' MultiOptimizer where there are several."""
        if len(self.optimizers) == 1:
            return self.optimizers[0][0]
        owners = {variable.path: optimizer for optimizer, variables in self.optimizers for variable in variables}
        return keras.optimizers.MultiOptimizer(lambda variable: owners[variable.path])

    def step(self, x: Any, y: tf.Tensor) -> tf.Tensor:
        """Trains on one batch and returns its loss."""
        with tf.GradientTape() as tape:
            y_pred = self.model(x, training=True)
            loss = tf.reduce_mean(self.loss(y, y_pred))
        variables = [variable for _, own in self.optimizers for variable in own]
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        start = 0
        for optimizer, own in self.optimizers:
            optimizer.apply(gradients[start : start + len(own)], own)
            start += len(own)
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
        """Brings an epoch's metrics to the host."""
        for metric in [*self.metrics, *self.val_metrics]:
            float(metric.result())
            metric.reset_state()

    def without_metrics(self) -> Setup:
        """Returns the setup for training alone."""
        return replace(self, metrics=[], val_metrics=[])


def build(words: Sequence[str]) -> Setup:
    """Builds what tfrun would train, from the same overrides."""
    with open_configs(words) as hydra:
        settings = schema.build_settings(hydra.compose(words).config, hydra.catalog, words)
        made = build_session(settings, hydra.catalog, load_table(settings.data, hydra.catalog))
    disable_op_determinism()
    examples, step = (made.examples.inputs, made.examples.targets), made.parts.step
    return Setup(
        made.parts.model,
        step.loss,
        list(step.metrics),
        made.parts.val_metrics,
        [(group.optimizer, group.variables) for group in step.active],
        take(examples, made.examples.splits["train"]),
        take(examples, made.examples.splits["val"]),
        take(examples, made.order.block(0, made.order.steps_per_epoch)),
        made.order.batch_size,
    )


def take(data: Any, rows: np.ndarray) -> Any:
    """Returns the given rows of every array."""
    return tf.nest.map_structure(lambda array: array[rows], data)


def batches(data: Data, size: int, order: np.ndarray | None = None) -> Iterator[Data]:
    """Yields the rows in pieces as tensors, in the given order."""
    rows = np.arange(len(data[1])) if order is None else order
    for start in range(0, len(rows), size):
        yield tf.nest.map_structure(tf.constant, take(data, rows[start : start + size]))


@dataclass(frozen=True)
class Reference:
    """What a plain eager loop with Keras' own loss ends an epoch with, for the others to agree with.

    `words` are the overrides of what it trained.
    """

    words: Sequence[str]
    loss: keras.losses.Loss
    train_loss: float
    val_loss: float

    @staticmethod
    def of(words: Sequence[str], loss: str) -> Reference:
        """Trains one epoch from the initial weights, in tfrun's order."""
        own = KERAS_LOSSES[loss]()
        setup = replace(build(words).without_metrics(), loss=own)
        losses = [float(setup.step(x, y)) for x, y in batches(setup.first_epoch, setup.batch_size)]
        return Reference(words, own, statistics.fmean(losses), val_loss(setup, own))


def val_loss(setup: Setup, loss: keras.losses.Loss) -> float:
    """Returns the loss over the validation rows, of a loss that gives a batch's mean."""
    sums = [float(loss(y, setup.model(x, training=False))) * len(y) for x, y in batches(setup.val, EVALUATION_ROWS)]
    return sum(sums) / len(setup.val[1])
