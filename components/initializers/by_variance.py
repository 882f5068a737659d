"""Initializers that keep the variance of signals constant from layer to layer.

fan_in and fan_out are the numbers of inputs and outputs that a weight connects. They are the two axes of a matrix; for
a convolution they are its last two axes, each multiplied by the size of the window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from tfrun import register


class ByVariance(keras.initializers.Initializer):
    """Draws values with mean 0 and the variance that a subclass defines.

    Each call draws new values unless a seed is set.
    """

    def __init__(self, distribution: Literal["normal", "uniform"] = "normal", seed: int | None = None):
        """Stores the distribution and the seed.

        Args:
            distribution: the distribution to draw from.
            seed: makes every call return the same values; None draws from Keras' global seed.
        """
        self.distribution = distribution
        self.seed = seed

    def variance(self, fan_in: float, fan_out: float) -> float:
        raise NotImplementedError

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> tf.Tensor:
        dtype = dtype or keras.config.floatx()
        window = math.prod(shape[:-2])
        fan_in, fan_out = (window * shape[-2], window * shape[-1]) if len(shape) > 1 else (shape[0], shape[0])
        variance = self.variance(fan_in, fan_out)
        if self.distribution == "normal":
            return keras.random.normal(shape, 0.0, math.sqrt(variance), dtype, self.seed)
        limit = math.sqrt(3.0 * variance)  # the variance of a uniform distribution over ±limit is limit²/3
        return keras.random.uniform(shape, -limit, limit, dtype, self.seed)

    def get_config(self) -> dict[str, Any]:
        return {"distribution": self.distribution, "seed": self.seed}


@register.initializer("glorot")
@keras.saving.register_keras_serializable("tfrun.initializers")
class Glorot(ByVariance):
    """Glorot (Xavier) initialization: Var(w) = 2/(fan_in + fan_out).

    Keeps the variance of the signals forward and of the gradients backward, for layers whose activation is tanh,
    sigmoid, softmax or none.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010,
    equation 12; Géron, chapter 12 (my_glorot_initializer).
    """

    def variance(self, fan_in: float, fan_out: float) -> float:
        return 2.0 / (fan_in + fan_out)


@register.initializer("he")
@keras.saving.register_keras_serializable("tfrun.initializers")
class He(ByVariance):
    """He initialization: Var(w) = 2/fan_in.

    Keeps the variance of the signals through relu and similar activations, which set half of them to 0.

    Source: He et al., "Delving deep into rectifiers", 2015, arXiv:1502.01852, equation 10.
    """

    def variance(self, fan_in: float, fan_out: float) -> float:
        return 2.0 / fan_in
