"""Defines `plateau`, a schedule that lowers the learning rate when a monitored value stops improving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Lt

from tfrun import register


@register.schedule("plateau")
class Plateau:
    """Starts at factor 1; after `patience` epochs without a better `monitor`, factor ← max(factor·decay, final).

    The factor, the best value and the number of epochs since are saved in checkpoints, so a resumed run continues as if
    it had not been interrupted.

    A value that isn't a finite number isn't defined, and no improvement.

    Source: `ReduceLROnPlateau` of Keras; He et al., "Deep residual learning", 2015, section 3.4, where it is done by
    hand.

    Args:
        monitor: the value to monitor, train/… or val/….
        decay: the number that the factor is multiplied by.
        patience: the number of epochs without improvement after which the factor falls.
        min_delta: the smallest change that counts as an improvement.
        mode: whether smaller ("min") or larger ("max") values are better; None is what the monitored metric says,
            and "min" for the loss.
        final: the smallest factor.
    """

    def __init__(
        self,
        monitor: str = "val/loss",
        decay: Annotated[float, Gt(0), Lt(1)] = 0.1,
        patience: Annotated[int, Ge(1)] = 10,
        min_delta: Annotated[float, Ge(0)] = 1e-4,
        mode: Literal["min", "max"] | None = None,
        final: Annotated[float, Ge(0), Lt(1)] = 0.0,
    ):
        self.monitor = monitor
        self.decay = decay
        self.patience = patience
        self.min_delta = min_delta
        self.sign = -1.0 if mode == "max" else 1.0
        self.final = final
        self.factor = keras.Variable(1.0, dtype="float32", trainable=False, name="factor")
        self.best = keras.Variable(float("inf"), dtype="float32", trainable=False, name="best")
        self.wait = keras.Variable(0, dtype="int32", trainable=False, name="wait")

    @property
    def variables(self) -> list[keras.Variable]:
        return [self.factor, self.best, self.wait]

    def __call__(self, step: Any) -> tf.Tensor:
        return tf.convert_to_tensor(self.factor)

    def end_epoch(self, values: Mapping[str, tf.Tensor]) -> None:
        """Updates the factor from an epoch's values, scalars by name; called inside the compiled program."""
        value = self.sign * values[self.monitor]
        factor = tf.convert_to_tensor(self.factor)
        better = tf.math.is_finite(value) & (value < tf.convert_to_tensor(self.best) - self.min_delta)
        wait = tf.where(better, 0, self.wait + 1)
        is_over = wait >= self.patience
        self.best.assign(tf.where(better, value, self.best))
        self.wait.assign(tf.where(is_over, 0, wait))
        self.factor.assign(tf.where(is_over, tf.maximum(factor * self.decay, self.final), factor))
