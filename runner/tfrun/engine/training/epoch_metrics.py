"""The mean loss and the metrics of an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrun.data.targets import TargetScale, of_output
from tfrun.protocols import MAIN_OUTPUT


class EpochMetrics:
    """The mean loss and the metrics of an epoch, measured in the targets' own units.

    Args:
        metrics: Keras metrics.
        targets: each target's scale, by the model's output that predicts it.
        outputs: the model's output that each metric measures; None if all measure the main one.

    Attributes:
        loss_mean: the mean of the losses so far.
        metrics: the other metrics.
        outputs: the outputs that they measure.
    """

    def __init__(
        self, metrics: Sequence[Any], targets: Mapping[str, TargetScale], *, outputs: Sequence[str] | None = None
    ):
        self.loss_mean = keras.metrics.Mean("loss")
        self.metrics = list(metrics)
        self.outputs = list(outputs or [MAIN_OUTPUT] * len(self.metrics))
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
                scale = self._targets.get(name, self._targets[MAIN_OUTPUT])
                restored[name] = scale.restore(of_output(y, name)), scale.restore(of_output(y_pred, name))
            metric.update_state(*restored[name], sample_weight=weights)


def read_and_reset(metrics: Sequence[keras.metrics.Metric]) -> tf.Tensor:
    """Returns the metrics' values so far, (num_metrics,) float32, and starts the next epoch's."""
    values = tf.stack([tf.cast(metric.result(), tf.float32) for metric in metrics])
    for metric in metrics:
        metric.reset_state()
    return values
