"""The end of an epoch inside the compiled program: validation, the best weights, early stopping."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfrun.engine.training.batches import gather, has_weights, share_of_replica, weighted
from tfrun.engine.training.epoch_metrics import EpochMetrics, read_and_reset
from tfrun.engine.training.step import Step
from tfrun.engine.training.tracker import Tracker
from tfrun.engine.training.vectorize import Alone, Lanes


class Epochs(NamedTuple):
    """The values at the end of each epoch that ended in a block; `BlockResult` explains them."""

    train: tf.Tensor
    val: tf.Tensor
    improved: tf.Tensor


class EpochEnd:
    """Evaluates rows, and ends epochs.

    Args:
        step: the training step.
        val_metrics: the validation's own metrics.
        step_count: the number of steps done, a scalar int64 variable.
        best: tracks the value whose best weights are kept, or None.
        stopper: tracks the value that early stopping monitors, or None.

    Attributes:
        names: of the values of an epoch, the loss first.
        best_weights: the model's weights of the best epoch so far.
    """

    def __init__(
        self,
        step: Step,
        val_metrics: EpochMetrics,
        *,
        step_count: keras.Variable,
        best: Tracker | None,
        stopper: Tracker | None,
    ):
        self.best = best
        self.stopper = stopper
        self.val_metrics = val_metrics
        self.names = ["loss", *(metric.name for metric in [*val_metrics.metrics, *step.own_metrics])]
        self.best_weights = [
            keras.Variable(tf.identity(variable.value), dtype=variable.dtype, trainable=False)
            for variable in (step.model.variables if best else ())
        ]
        self._step = step
        self._step_count = step_count
        self._all_val_metrics = [*val_metrics.all, *step.own_metrics]

    def start(self) -> None:
        """Forgets an earlier run: the model's weights count as the best ones, and all metrics are empty."""
        for best, variable in zip(self.best_weights, self._step.model.variables, strict=True):
            best.assign(variable.value)
        for metric in self._all_val_metrics:
            metric.reset_state()

    def begin_validation(self) -> tf.Tensor:
        """Reads the training metrics, (num_values,) float32, and switches to validation.

        Validation uses the averaged weights, if any, and the model's own metrics too.
        """
        if self._step.options.averages is not None:
            self._step.options.averages.swap()
        return read_and_reset(self._step.all_metrics)

    def end_epoch(self, train: tf.Tensor) -> tuple[Epochs, tf.Tensor]:
        """Ends validation: reads its metrics and keeps the best weights.

        Args:
            train: the training metrics that `begin_validation` returned.

        Returns:
            The epoch's values, and whether early stopping asks to stop (scalar bool).
        """
        val = self.read()
        values = self._by_full_name(train, val)
        better = tf.constant(False)
        stop = tf.constant(False)
        if self.best is not None:
            better = self.best.update(values[self.best.monitor], self._step_count)
            for best, variable in zip(self.best_weights, self._step.model.variables, strict=True):
                best.assign(tf.where(better, variable.value, best))
        if self.stopper is not None:
            self.stopper.update(values[self.stopper.monitor], self._step_count)
            stop = self.stopper.patience_is_over()
        for group in self._step.active:
            if group.epoch_schedule is not None and group.epoch_schedule.end_epoch is not None:
                group.epoch_schedule.end_epoch(values)
        if self._step.options.averages is not None:
            self._step.options.averages.swap()
        return Epochs(train, val, better), stop

    def read(self) -> tf.Tensor:
        """Returns the values of the rows evaluated so far, (num_values,) float32, and starts the next ones."""
        return read_and_reset(self._all_val_metrics)

    def evaluate(
        self, runs: Alone | Lanes, on: Any, *, data: Any, rows: tf.Tensor, num_rows: tf.Tensor, size: int
    ) -> None:
        """Adds rows to the validation's metrics.

        Args:
            runs: the run, or the runs that are trained together.
            on: which of them are evaluated.
            data: examples, (inputs, targets, weights).
            rows: row numbers in them, (N,) int32, N a multiple of `size`.
            num_rows: how many of the rows count; the others are padding.
            size: how many rows are evaluated at once.
        """

        def evaluate_part(k: tf.Tensor) -> list[tf.Tensor]:
            part = tf.reshape(tf.slice(rows, [k * size], [size]), [size])
            weights = tf.cast(k * size + tf.range(size) < num_rows, tf.float32)
            runs.each(lambda: self._step.strategy.run(self._evaluate, args=(data, part, weights)), on)
            return [k + 1]

        tf.while_loop(lambda k: k < tf.shape(rows)[0] // size, evaluate_part, [tf.constant(0)])

    def _evaluate(self, data: Any, rows: tf.Tensor, weights: tf.Tensor) -> None:
        weights = share_of_replica(weights)
        x, y, row_weights = gather(data, share_of_replica(rows))
        losses, y_pred = self._step.evaluate(weighted(self._step.loss, row_weights), x, y)
        self.val_metrics.loss_mean.update_state(losses, sample_weight=weights)
        if has_weights(row_weights):
            weights *= tf.cast(row_weights, weights.dtype)
        if self.val_metrics.metrics:
            self.val_metrics.update(y, y_pred, weights)

    def _by_full_name(self, train: tf.Tensor, val: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            f"{split}/{name}": values[k]
            for split, values in (("train", train), ("val", val))
            for k, name in enumerate(self.names)
        }
