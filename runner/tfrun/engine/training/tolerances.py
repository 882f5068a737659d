"""Steps that are taken without an update because their numbers aren't finite, and the loss scale that avoids them.

Both have `variables`, which are saved in checkpoints, say by `tolerates` whether such a step may be taken, and see
every step by `update`.
"""

from __future__ import annotations

import keras
import tensorflow as tf

MAX_CONSECUTIVE_SKIPS = 100  # more means divergence, not noise; so do as many as an epoch has
FIRST_SCALE = 2.0**15
GROWS_AFTER = 2000  # consecutive steps with finite gradients


class LossScale:
    """The factor that the loss is multiplied by before it is differentiated, so that float16 can hold the gradients.

    It is halved at a step whose gradients aren't finite, which then changes no weight, and doubled after 2,000
    consecutive steps with finite ones. At a scale of 1 the scale can't be the cause any more.

    Source: Micikevicius et al., "Mixed precision training", 2018, arXiv:1710.03740, section 3.2; the numbers are those
    of Keras' LossScaleOptimizer.
    """

    def __init__(self) -> None:
        self._scale = keras.Variable(FIRST_SCALE, dtype="float32", trainable=False, name="loss_scale")
        self._good_steps = keras.Variable(0, dtype="int32", trainable=False, name="good_steps")

    @property
    def variables(self) -> list[keras.Variable]:
        return [self._scale, self._good_steps]

    def up(self, loss: tf.Tensor) -> tf.Tensor:
        """Returns the scaled loss, to be differentiated."""
        return loss * self._scale

    def down(self, gradient: tf.Tensor) -> tf.Tensor:
        """Returns the gradient of the loss itself, given that of the scaled loss."""
        return gradient / tf.cast(self._scale, gradient.dtype)

    def tolerates(self, loss: tf.Tensor) -> tf.Tensor:
        """Returns whether the scale may be the cause of gradients that aren't finite, a scalar bool."""
        return tf.math.is_finite(loss) & (self._scale > 1.0)

    def update(self, finite: tf.Tensor, taken: tf.Tensor) -> None:
        """Adapts the scale to a step, if it was taken; if not, nothing changes."""
        steps = tf.where(finite, self._good_steps + 1, 0)
        grows = steps >= GROWS_AFTER
        factor = tf.where(finite, tf.where(grows, 2.0, 1.0), 0.5)
        self._scale.assign(tf.where(taken, tf.maximum(self._scale * factor, 1.0), self._scale))
        self._good_steps.assign(tf.where(taken, tf.where(grows, 0, steps), self._good_steps))


class Skips:
    """Counts the steps that are skipped, for `trainer.on_divergence=skip`.

    Args:
        max_consecutive: the largest number of consecutive steps that may be skipped.
    """

    def __init__(self, max_consecutive: int = MAX_CONSECUTIVE_SKIPS) -> None:
        self._max_consecutive = max_consecutive
        self._consecutive = keras.Variable(0, dtype="int32", trainable=False, name="skipped_in_a_row")
        self._total = keras.Variable(0, dtype="int64", trainable=False, name="skipped_steps")

    @property
    def variables(self) -> list[keras.Variable]:
        return [self._consecutive, self._total]

    @property
    def total(self) -> int:
        """The number of skipped steps so far."""
        return int(self._total.numpy())

    def tolerates(self, loss: tf.Tensor) -> tf.Tensor:
        """Returns whether one more step may be skipped, a scalar bool."""
        return self._consecutive < self._max_consecutive

    def is_diverged(self, num_steps: int) -> bool:
        """Returns whether a run has skipped most of its `num_steps` steps."""
        return 2 * self.total > num_steps

    def update(self, finite: tf.Tensor, taken: tf.Tensor) -> None:
        """Counts a step. One that the loss scale explains counts as finite."""
        skipped = tf.cast(taken & ~finite, tf.int32)
        self._consecutive.assign(tf.where(finite, 0, self._consecutive + skipped))
        self._total.assign_add(tf.cast(skipped, tf.int64))
