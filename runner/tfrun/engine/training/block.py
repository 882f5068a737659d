"""A block: many steps, across the ends of epochs and their validation, as one graph.

for each epoch of the block:
    for each of its steps:   train on one batch; stop if the numbers are no longer finite
    at its end:              validate, compare with the best, keep the best weights, stop early?
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfrun.engine.training.epoch_end import EpochEnd, Epochs
from tfrun.engine.training.feed import Selection
from tfrun.engine.training.rows import Tracing
from tfrun.engine.training.step import Step, StepResult
from tfrun.engine.training.vectorize import Alone, Lanes


class Curves(NamedTuple):
    """The values of each step of a block; `BlockResult` explains them."""

    losses: tf.Tensor
    norms: tf.Tensor
    learning_rates: tf.Tensor


class BlockValues(NamedTuple):
    """The tensors that a block returns to the host.

    With lanes each tensor has one axis more, of the lanes: the second one in `curves` and `epochs`.

    Attributes:
        curves: of each step, (max_steps, …).
        epochs: of each epoch that ended, (max_epochs, …).
        num_steps, num_epochs: how many steps and epochs of these count, scalar int32.
        ok: whether all numbers were finite, scalar bool.
        stop: whether early stopping asks to stop, scalar bool.
    """

    curves: Curves
    epochs: Epochs
    num_steps: tf.Tensor
    num_epochs: tf.Tensor
    ok: tf.Tensor
    stop: tf.Tensor

    def lane(self, k: int) -> BlockValues:
        """Returns the values of one lane, which the host has already."""
        curves, epochs, *others = self
        return BlockValues(
            Curves(*(curve[:, k] for curve in curves)),
            Epochs(*(value[:, k] for value in epochs)),
            *(value[k] for value in others),
        )


class Span(NamedTuple):
    """The steps of a block: from step `first` of the first epoch up to step `last` of the last one. Scalar int32."""

    first: tf.Tensor
    last: tf.Tensor
    num_epochs: tf.Tensor


class Validation(NamedTuple):
    """The validation of an epoch inside a block: the rows, if there are any, and how many are evaluated at once."""

    selection: Selection | None
    size: int


@dataclass(frozen=True)
class BlockGraph:
    """Traces a block.

    Attributes:
        step: trains on one batch.
        epoch_end: ends an epoch.
        step_count: the number of steps done, a scalar int64 variable.
        batch_size: rows of a step.
        steps_per_epoch: whole batches in an epoch.
        max_steps, max_epochs: the longest block.
    """

    step: Step
    epoch_end: EpochEnd
    step_count: keras.Variable
    batch_size: int
    steps_per_epoch: int
    max_steps: int
    max_epochs: int

    def run(
        self,
        runs: Alone | Lanes,
        on: tf.Tensor,
        *,
        data: Any,
        rows: tf.Tensor,
        span: Span,
        validation: Validation | None,
        tracing: Tracing,
    ) -> BlockValues:
        """Trains the steps of a span.

        Args:
            runs: the run, or the runs that are trained together. `on`, `rows` and the result then have a leading axis
                of the lanes.
            on: whether to train, scalar bool.
            data: examples, (inputs, targets, weights).
            rows: the numbers of the rows of every step, (max_steps * batch_size,) int32.
            span: the steps.
            validation: how an epoch ends inside the block; None if the host ends it.
            tracing: how the step is traced.
        """
        train_step = self._step_of(runs, data, rows=rows, lanes=list(on.shape), tracing=tracing)

        def train_epoch(k: Any, at: Any, values: BlockValues) -> tuple[Any, ...]:
            curves, epochs, num_steps, num_epochs, ok, stop = values
            begin = tf.where(k == 0, span.first, 0)
            end = tf.where(k == span.num_epochs - 1, span.last, self.steps_per_epoch)
            i, at, num_steps, trained, curves = tf.while_loop(
                lambda i, at, num_steps, ok, curves: (i < end) & tf.reduce_any(ok),
                train_step,
                (begin, at, num_steps, ok & ~stop, curves),
            )
            ok = trained | stop
            if validation is not None:
                is_over = trained & (i == self.steps_per_epoch)
                epochs, stop = tf.cond(
                    tf.reduce_any(is_over),
                    lambda: self._end_epoch(runs, is_over, k=k, epochs=epochs, stop=stop, validation=validation),
                    lambda: (epochs, stop),
                )
                num_epochs += tf.cast(is_over, tf.int32)
            return k + 1, at, BlockValues(curves, epochs, num_steps, num_epochs, ok, stop)

        _, _, values = tf.while_loop(
            lambda k, at, values: (k < span.num_epochs) & tf.reduce_any(values.ok & ~values.stop),
            train_epoch,
            (tf.constant(0), tf.constant(0), self._empty(on)),
        )
        return values

    def _step_of(
        self, runs: Alone | Lanes, data: Any, *, rows: tf.Tensor, lanes: list[int], tracing: Tracing
    ) -> Callable[..., tuple[Any, ...]]:
        """Returns the body of the loop over an epoch's steps.

        Args:
            runs, data, rows, tracing: as for `run`.
            lanes: the leading axes of `rows`.
        """
        batch_shape = [*lanes, self.batch_size]

        def train_on(batch: tf.Tensor) -> StepResult:
            result = self.step(data, batch, self.step_count, tracing=tracing)
            self.step_count.assign_add(tf.cast(result.taken, tf.int64))
            return result

        def train_step(i: Any, at: Any, num_steps: Any, ok: Any, curves: Curves) -> tuple[Any, ...]:
            begin = [*(0 for _ in lanes), at * self.batch_size]
            batch = tf.reshape(tf.slice(rows, begin, batch_shape), batch_shape)
            result = runs.each(train_on, ok, batch)
            ok &= result.taken
            num_steps += tf.cast(ok, tf.int32)
            values = Curves(result.loss, result.norm, result.learning_rates)
            return i + 1, at + 1, num_steps, ok, _written(curves, at, values)

        return train_step

    def _end_epoch(
        self,
        runs: Alone | Lanes,
        is_over: tf.Tensor,
        *,
        k: tf.Tensor,
        epochs: Epochs,
        stop: tf.Tensor,
        validation: Validation,
    ) -> tuple[Epochs, tf.Tensor]:
        """Validates the runs whose k-th epoch is over, and returns the epochs' values and whether to stop."""
        train_values = runs.each(self.epoch_end.begin_validation, is_over)
        if validation.selection is not None:
            data, rows = validation.selection
            self.epoch_end.evaluate(runs, is_over, data=data, rows=rows, size=validation.size)
        values, stops = runs.each(self.epoch_end.end_epoch, is_over, train_values)
        return _written(epochs, k, values), stop | (is_over & stops)

    def _empty(self, on: tf.Tensor) -> BlockValues:
        lanes = list(on.shape)
        curve = tf.zeros([self.max_steps, *lanes])
        rates = tf.zeros([self.max_steps, *lanes, len(self.step.active)])
        values = [self.max_epochs, *lanes, len(self.epoch_end.names)]
        epochs = Epochs(tf.zeros(values), tf.zeros(values), tf.zeros(values[:-1], tf.bool))
        none = tf.zeros(lanes, tf.int32)
        return BlockValues(Curves(curve, curve, rates), epochs, none, none, on, tf.zeros(lanes, tf.bool))


def _written(arrays: Any, k: tf.Tensor, values: Any) -> Any:
    """Returns a named tuple of arrays with the values at their k-th places."""
    return type(arrays)(
        *(tf.tensor_scatter_nd_update(array, [[k]], [value]) for array, value in zip(arrays, values, strict=True))
    )
