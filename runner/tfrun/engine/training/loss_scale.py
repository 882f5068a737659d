"""A loss that is multiplied before it is differentiated, so that float16 can hold the gradients."""

from __future__ import annotations

import keras
import tensorflow as tf

FIRST = 2.0**15
GROWS_AFTER = 2000  # steps in a row whose gradients were finite


class LossScale:
    """As large as the gradients allow: halved where one isn't finite, doubled after 2,000 steps that all were.

    A step whose gradients weren't finite changes no weight. At a scale of 1 it isn't the scale's fault any more.

    Source: Micikevicius et al., "Mixed precision training", 2018, arXiv:1710.03740, section 3.2; the numbers are those
    of Keras' LossScaleOptimizer.
    """

    def __init__(self) -> None:
        self._scale = keras.Variable(FIRST, dtype="float32", trainable=False, name="loss_scale")
        self._good_steps = keras.Variable(0, dtype="int32", trainable=False, name="good_steps")

    @property
    def variables(self) -> list[keras.Variable]:
        return [self._scale, self._good_steps]

    def up(self, loss: tf.Tensor) -> tf.Tensor:
        """Returns a loss to differentiate."""
        return loss * self._scale

    def down(self, gradient: tf.Tensor) -> tf.Tensor:
        """Returns the gradient of the loss itself."""
        return gradient / tf.cast(self._scale, gradient.dtype)

    def tolerates(self, loss: tf.Tensor) -> tf.Tensor:
        """Returns whether gradients that aren't finite may be so because of the scale, a scalar bool."""
        return tf.math.is_finite(loss) & (self._scale > 1.0)

    def update(self, finite: tf.Tensor, taken: tf.Tensor) -> None:
        """Takes whether a step's gradients were finite, and whether the step was taken, which else changes nothing."""
        steps = tf.where(finite, self._good_steps + 1, 0)
        grows = steps >= GROWS_AFTER
        factor = tf.where(finite, tf.where(grows, 2.0, 1.0), 0.5)
        self._scale.assign(tf.where(taken, tf.maximum(self._scale * factor, 1.0), self._scale))
        self._good_steps.assign(tf.where(taken, tf.where(grows, 0, steps), self._good_steps))
