"""A schedule that watches how training goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Lt

from tfrun import register


@register.schedule("plateau")
class Plateau:
    """Starts at factor 1; after `patience` epochs in which `monitor` was no better, factor ← max(factor·decay, final).

    What it has seen is part of a run's state, so a resumed run goes on where it was.

    Source: `ReduceLROnPlateau` of Keras; He et al., "Deep residual learning", 2015, section 3.4, by hand.

    Args:
        monitor: the value that it watches, train/… or val/….
        decay: what the factor is multiplied with.
        patience: the number of epochs without a better value.
        min_delta: how much better a value has to be.
        mode: whether less is better, or more; None is what the monitored metric says, min for a loss.
        final: the least factor.
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
        self.monitor, self.decay, self.patience = monitor, decay, patience
        self.min_delta, self.sign, self.final = min_delta, -1.0 if mode == "max" else 1.0, final
        self.factor = keras.Variable(1.0, dtype="float32", trainable=False, name="factor")
        self.best = keras.Variable(float("inf"), dtype="float32", trainable=False, name="best")
        self.wait = keras.Variable(0, dtype="int32", trainable=False, name="wait")

    @property
    def variables(self) -> list[keras.Variable]:
        return [self.factor, self.best, self.wait]

    def __call__(self, step: Any) -> tf.Tensor:
        return tf.convert_to_tensor(self.factor)

    def end_epoch(self, values: Mapping[str, tf.Tensor]) -> None:
        """Takes an epoch's values, scalars by their names; called inside the compiled program."""
        value, factor = self.sign * values[self.monitor], tf.convert_to_tensor(self.factor)
        better = value < tf.convert_to_tensor(self.best) - self.min_delta
        wait = tf.where(better, 0, self.wait + 1)
        is_over = wait >= self.patience
        self.best.assign(tf.where(better, value, self.best))
        self.wait.assign(tf.where(is_over, 0, wait))
        self.factor.assign(tf.where(is_over, tf.maximum(factor * self.decay, self.final), factor))
