"""Steps that are taken without an update, because their numbers weren't finite."""

from __future__ import annotations

import keras
import tensorflow as tf

MOST_IN_A_ROW = 100  # then it is no accident any more


class Skips:
    """Counts them, for trainer.on_divergence=skip."""

    def __init__(self) -> None:
        self._in_a_row = keras.Variable(0, dtype="int32", trainable=False, name="skipped_in_a_row")
        self._total = keras.Variable(0, dtype="int64", trainable=False, name="skipped_steps")

    @property
    def variables(self) -> list[keras.Variable]:
        return [self._in_a_row, self._total]

    @property
    def total(self) -> int:
        """How many there have been."""
        return int(self._total.numpy())

    def tolerates(self, loss: tf.Tensor) -> tf.Tensor:
        """Returns whether one more may be skipped, a scalar bool."""
        return self._in_a_row < MOST_IN_A_ROW

    def update(self, finite: tf.Tensor, taken: tf.Tensor) -> None:
        """Takes whether a step's numbers were finite, and whether the step was taken."""
        skipped = tf.cast(taken & ~finite, tf.int32)
        self._in_a_row.assign(tf.where(finite, 0, self._in_a_row + skipped))
        self._total.assign_add(tf.cast(skipped, tf.int64))
