"""Tracks a monitored value over the epochs, inside the compiled program."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf


class Tracker:
    """The best value so far of one monitored value, and for how long there has been no better one.

    Args:
        monitor: the value's name, `val/loss` for instance.
        mode: `min` if smaller values are better, `max` if greater ones are.
        min_delta: a smaller improvement counts as none.
        patience: epochs without an improvement after which to stop; None for never.

    Attributes:
        monitor: the value's name.
        best: the best value so far; the worst possible one before the first epoch. Scalar float32 variable.
        best_step: the step at which it was reached; 0 before the first epoch. Scalar int64 variable.
        wait: epochs since then. Scalar int32 variable.
    """

    def __init__(self, monitor: str, mode: str, *, min_delta: float = 0.0, patience: int | None = None):
        self.monitor = monitor
        self._sign = 1.0 if mode == "min" else -1.0
        self._min_delta = min_delta
        self._patience = patience
        self.best = keras.Variable(self._sign * np.inf, dtype="float32", trainable=False, name="best")
        self.best_step = keras.Variable(0, dtype="int64", trainable=False, name="best_step")
        self.wait = keras.Variable(0, dtype="int32", trainable=False, name="wait")

    @property
    def variables(self) -> list[keras.Variable]:
        return [self.best, self.best_step, self.wait]

    def update(self, value: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Tracks an epoch's value; returns whether it is the best so far, a scalar bool.

        A value that isn't a finite number isn't defined: it is never the best, and an epoch without an improvement.
        """
        better = tf.math.is_finite(value) & (self._sign * value < self._sign * self.best - self._min_delta)
        self.best.assign(tf.where(better, value, self.best))
        self.best_step.assign(tf.where(better, step, self.best_step))
        self.wait.assign(tf.where(better, 0, self.wait + 1))
        return better

    def patience_is_over(self) -> tf.Tensor:
        """Returns whether `patience` consecutive epochs were no better, a scalar bool; 0 is like 1, as in Keras."""
        return tf.constant(False) if self._patience is None else self.wait >= max(1, self._patience)
