"""Defines `wasserstein`, a loss on the scores of a critic."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfrun import register


@register.loss("wasserstein")
@keras.saving.register_keras_serializable("tfrun.losses")
class Wasserstein(keras.losses.Loss):
    """Wasserstein loss of a critic: L(y, s) = (1 − 2·y)·s: −s for a real example (y = 1), and s for a generated one (y
    = 0).

    y and the critic's scores s are (B, 1); the result is (B,). Over critics with slopes of at most 1, the smallest mean
    loss is minus the earth mover's distance between the two distributions. It is meant for algorithm=gan with a
    gradient_penalty.

    Source: Arjovsky et al., "Wasserstein GAN", 2017, arXiv:1701.07875, equation 2.
    """

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str = "wasserstein", dtype: Any = None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean((1.0 - 2.0 * tf.cast(y_true, y_pred.dtype)) * y_pred, axis=-1)
