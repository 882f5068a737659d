"""The mean loss and the metrics of an epoch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrun.data.targets import TargetScale, of_output
from tfrun.engine.training.target_unit import TargetUnit
from tfrun.engine.training.undefined import value_of
from tfrun.protocols import MAIN_OUTPUT


class EpochMetrics:
    """The mean loss and the metrics of an epoch, measured in the targets' own units.

    Args:
        metrics: Keras metrics.
        targets: each target's unit, by the model's output that predicts it.
        outputs: the model's output that each metric measures; None if all measure the main one.
        rounding: names of the metrics that can't compute in float64, which a target far from 0 needs.

    Attributes:
        loss_mean: the mean of the losses so far.
        metrics: the other metrics.
        outputs: the outputs that they measure.
    """

    def __init__(
        self,
        metrics: Sequence[Any],
        targets: Mapping[str, TargetScale | TargetUnit],
        *,
        outputs: Sequence[str] | None = None,
        rounding: Collection[str] = (),
    ):
        self.loss_mean = keras.metrics.Mean("loss")
        self.metrics = list(metrics)
        self.outputs = list(outputs or [MAIN_OUTPUT] * len(self.metrics))
        self.rounding = rounding
        self._targets = targets

    @property
    def all(self) -> list[Any]:
        """The loss and then the other metrics."""
        return [self.loss_mean, *self.metrics]

    @property
    def variables(self) -> list[keras.Variable]:
        """The state of all of them."""
        return [variable for metric in self.all for variable in metric.variables]

    def update(self, y: Any, y_pred: Any, weights: Any) -> None:
        """Updates every metric but the loss with a batch.

        Args:
            y, y_pred: scaled targets and predictions, (B, K), or mappings of them by output.
            weights: the rows' weights, (B,), or None.
        """
        restored: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}
        for metric, name in zip(self.metrics, self.outputs, strict=True):
            if name not in restored:
                unit = self._targets.get(name, self._targets[MAIN_OUTPUT])
                restored[name] = restore(unit, of_output(y, name)), restore(unit, of_output(y_pred, name))
            pair = restored[name]
            if metric.name in self.rounding:
                pair = tf.cast(pair[0], keras.config.floatx()), tf.cast(pair[1], keras.config.floatx())
            metric.update_state(*pair, sample_weight=weights)


def restore(unit: TargetScale | TargetUnit, values: Any) -> tf.Tensor:
    """Returns scaled targets or predictions in the target's own unit, with all digits that their differences need."""
    if unit.needs_float64:
        values = tf.cast(values, tf.float64)
    elif not unit.is_plain and values.dtype in (tf.float16, tf.bfloat16):
        values = tf.cast(values, tf.float32)
    return unit.restore(values)


def read_and_reset(
    measured: EpochMetrics, own_metrics: Sequence[keras.metrics.Metric], *, has_weight: tf.Tensor
) -> tf.Tensor:
    """Returns the values so far, (num_values,) float32, and starts the next epoch's; NaN if a value isn't defined.

    Args:
        measured: the loss and the metrics of the targets.
        own_metrics: those that the model and the algorithm update themselves.
        has_weight: whether any row that counts has been measured, scalar bool.
    """
    values = tf.where(has_weight, tf.stack([value_of(metric) for metric in measured.all]), float("nan"))
    own_values = [value_of(metric) for metric in own_metrics]
    for metric in (*measured.all, *own_metrics):
        metric.reset_state()
    return tf.concat([values, own_values], axis=0) if own_values else values
