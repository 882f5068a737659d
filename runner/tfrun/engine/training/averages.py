"""Moving averages of the weights, which are validated, saved as the best weights, and used instead of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class AveragedWeights:
    """Exponential moving averages: a ← decay·a + (1 − decay)·w after each step, and a = w after the first.

    The same as `use_ema` of Keras' optimizers, but one for all groups. Averaged weights often do better than those of
    the last step, which are off by that step's noise.

    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.

    Args:
        weights: the variables to average.
        decay: 0 < decay < 1; it averages over about 1 / (1 − decay) steps.

    Attributes:
        variables: the averages, of the weights' shapes and dtypes.
    """

    def __init__(self, weights: Sequence[keras.Variable], decay: Any):
        self._weights = weights
        self._decay = decay
        self.variables = [
            keras.Variable(tf.identity(weight.value), trainable=False, name="average") for weight in weights
        ]

    def update(self, step: tf.Tensor) -> None:
        """Adds the weights after a step to the averages; the first step is 0."""
        decay = tf.where(step == 0, 0.0, tf.cast(self._decay, tf.float32))
        for average, weight in zip(self.variables, self._weights, strict=True):
            share = tf.cast(decay, average.dtype)
            average.assign(share * average + (1.0 - share) * weight.value)

    def swap(self) -> None:
        """Exchanges the model's weights and the averages; a second call exchanges them back."""
        for average, weight in zip(self.variables, self._weights, strict=True):
            before = tf.identity(weight.value)
            weight.assign(average.value)
            average.assign(before)
