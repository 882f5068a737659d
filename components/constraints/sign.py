"""Defines `non_negative`, which keeps weights from becoming negative."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrun import register


@register.constraint("non_negative")
@keras.saving.register_keras_serializable("tfrun.constraints")
class NonNegative(keras.constraints.Constraint):
    """Non-negative weights: w ← max(w, 0), element by element.

    Source: Géron, chapter 12 (my_positive_weights).
    """

    def __call__(self, w: tf.Tensor) -> tf.Tensor:
        return tf.maximum(w, tf.zeros([], w.dtype))
