"""Averages of the weights over the steps, which are validated, kept and used in the weights' place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class AveragedWeights:
    """Exponential moving averages: a ← decay·a + (1 − decay)·w after each step, and a = w after the first.

    The same as `use_ema` of Keras' optimizers, but one for all groups. Averaged weights often do better than those of
    the last step, which its noise has moved.

    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.

    Args:
        weights: what is averaged.
        decay: 0 < decay < 1; it averages over about 1 / (1 − decay) steps.

    Attributes:
        variables: the averages, of the weights' shapes and dtypes.
    """

    def __init__(self, weights: Sequence[keras.Variable], decay: Any):
        self._weights = weights
        self._decay = decay
        self.variables = [keras.Variable(tf.identity(own.value), trainable=False, name="average") for own in weights]

    def update(self, step: tf.Tensor) -> None:
        """Takes the weights as they are after a step; the first step is 0."""
        kept = tf.where(step == 0, 0.0, tf.cast(self._decay, tf.float32))
        for average, own in zip(self.variables, self._weights, strict=True):
            share = tf.cast(kept, average.dtype)
            average.assign(share * average + (1.0 - share) * own.value)

    def swap(self) -> None:
        """Gives the model the averages and keeps its weights meanwhile, or the other way round."""
        for average, own in zip(self.variables, self._weights, strict=True):
            before = tf.identity(own.value)
            own.assign(average.value)
            average.assign(before)
