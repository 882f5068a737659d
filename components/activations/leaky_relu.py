"""Defines `leaky_relu`, a rectifier with a small slope for negative inputs."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge, Lt

from tfrun import register


@register.activation("leaky_relu")
@keras.saving.register_keras_serializable("tfrun.activations")
class LeakyReLU:
    """Leaky ReLU: f(x) = max(x, α·x).

    With α > 0 the gradient is never 0, so no unit stops learning. x may have any shape.

    Source: Maas et al., "Rectifier nonlinearities improve neural network acoustic models", 2013; Géron, chapter 12
    (my_leaky_relu).

    Args:
        negative_slope: α, the slope for x < 0.
    """

    initializer = "he_normal"  # the kernel initializer that suits this activation

    def __init__(self, negative_slope: Annotated[float, Ge(0), Lt(1)] = 0.2):
        self.negative_slope = float(negative_slope)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return tf.maximum(x, self.negative_slope * x)

    def get_config(self) -> dict[str, Any]:
        return {"negative_slope": self.negative_slope}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LeakyReLU:
        return cls(**config)
