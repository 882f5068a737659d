"""The end of an epoch inside the compiled program: validation, the best weights, early stopping."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfrun.engine.training.batches import gather, has_weights, shares_of_replicas, weighted
from tfrun.engine.training.epoch_metrics import EpochMetrics, read_and_reset
from tfrun.engine.training.step import Step
from tfrun.engine.training.tracker import Tracker
from tfrun.engine.training.vectorize import Alone, Lanes, cond


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
        self._weight = keras.metrics.Sum("weight")  # the total of the rows evaluated so far

    def start(self) -> None:
        """Forgets an earlier run: the model's weights count as the best ones, and all metrics are empty."""
        for best, variable in zip(self.best_weights, self._step.model.variables, strict=True):
            best.assign(variable.value)
        for metric in (*self.val_metrics.all, *self._step.own_metrics, self._weight):
            metric.reset_state()

    @property
    def val_variables(self) -> list[keras.Variable]:
        """The state of the validation, which is empty between two epochs."""
        return [*self.val_metrics.variables, *self._weight.variables]

    def begin_validation(self) -> tf.Tensor:
        """Reads the training metrics, (num_values,) float32, and switches to validation.

        Validation uses the averaged weights, if any, and the model's own metrics too.
        """
        if self._step.options.averages is not None:
            self._step.options.averages.swap()
        metrics = self._step.metrics
        has_updates = tf.convert_to_tensor(metrics.loss_mean.count) > 0  # else every step was skipped
        return read_and_reset(metrics, self._step.own_metrics, has_weight=has_updates)

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
            better = cond(better, self._keep_best, lambda: tf.constant(False))
        if self.stopper is not None:
            self.stopper.update(values[self.stopper.monitor], self._step_count)
            stop = self.stopper.patience_is_over()
        for group in self._step.active:
            if group.epoch_schedule is not None and group.epoch_schedule.end_epoch is not None:
                group.epoch_schedule.end_epoch(values)
        if self._step.options.averages is not None:
            self._step.options.averages.swap()
        return Epochs(train, val, better), stop

    def _keep_best(self) -> tf.Tensor:
        is_alone = self._step.strategy.num_replicas_in_sync == 1
        tables: list[tuple[tf.Variable, tf.Variable]] = []
        for best, variable in zip(self.best_weights, self._step.model.variables, strict=True):
            if is_alone and variable in self._step.tables:
                tables.append((best.value, variable.value))
            else:
                best.assign(variable.value)
        if tables:
            _overwrite(tables)
        return tf.constant(True)

    def read(self) -> tf.Tensor:
        """Returns the values of the rows evaluated so far, (num_values,) float32, and starts the next ones."""
        has_weight = tf.convert_to_tensor(self._weight.total) > 0
        self._weight.reset_state()
        return read_and_reset(self.val_metrics, self._step.own_metrics, has_weight=has_weight)

    def evaluate(self, runs: Alone | Lanes, on: Any, *, data: Any, rows: tf.Tensor, size: int) -> None:
        """Adds rows to the validation's metrics.

        No row is evaluated twice or with a weight of 0: what a model computes over a batch by itself, as with
        `add_loss`, would see it. So what is left after the whole parts is a smaller part, of a shape of its own.

        Args:
            runs: the run, or the runs that are trained together.
            on: which of them are evaluated.
            data: examples, (inputs, targets, weights).
            rows: row numbers in them, (N,) int32.
            size: how many rows are evaluated at once.
        """
        strategy = self._step.strategy
        num_parts, num_left = divmod(rows.shape[0], size)

        def evaluate_part(begin: Any, length: int) -> None:
            part = tf.reshape(tf.slice(rows, [begin], [length]), [length])
            runs.each(lambda: strategy.run(self._evaluate, args=(data, shares_of_replicas(strategy, part))), on)

        def evaluate_whole_part(k: tf.Tensor) -> list[tf.Tensor]:
            evaluate_part(k * size, size)
            return [k + 1]

        if num_parts:
            tf.while_loop(lambda k: k < num_parts, evaluate_whole_part, [tf.constant(0)])
        if num_left:
            evaluate_part(num_parts * size, num_left)
        self._step.synchronize()

    def _evaluate(self, data: Any, rows: tf.Tensor) -> None:
        if rows.shape[0] == 0:  # fewer rows than replicas, and a mean of none of them isn't a number
            return
        x, y, weights = gather(data, rows)
        losses, y_pred = self._step.evaluate(weighted(self._step.loss, weights), x, y)
        self.val_metrics.loss_mean.update_state(losses)
        self._weight.update_state(weights if has_weights(weights) else tf.ones_like(rows, "float32"))
        if self.val_metrics.metrics:
            self.val_metrics.update(y, y_pred, weights if has_weights(weights) else None)

    def _by_full_name(self, train: tf.Tensor, val: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            f"{split}/{name}": values[k]
            for split, values in (("train", train), ("val", val))
            for k, name in enumerate(self.names)
        }


@functools.partial(tf.function, autograph=False, jit_compile=True)
def _overwrite(pairs: list[tuple[tf.Variable, tf.Variable]]) -> None:
    """Copies the second variable of each pair into the memory of the first, (N, …) each.

    Outside XLA, TensorFlow copies a variable that it has gathered rows of to read it, and once more to assign it. New
    memory of this size takes ten times as long as the copy itself.
    """
    for target, source in pairs:
        target.assign(source)
