"""Defines `layer_normalization`, which normalizes each example separately."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Gt

from tfrun import register


@register.layer("layer_normalization")
@keras.saving.register_keras_serializable("tfrun.layers")
class LayerNormalization(keras.layers.Layer):
    """Layer normalization: y = α·(x − μ)/√(σ² + ε) + β, with μ and σ² the mean and variance over the last axis; y has
    x's shape.

    α, which starts at 1, and β, which starts at 0, have the length of the last axis. For x in half precision the
    statistics are computed in float32.

    Source: Ba et al., "Layer normalization", 2016, arXiv:1607.06450; Géron, chapter 12, exercise 12.

    Args:
        epsilon: ε, keeps the division finite.
    """

    def __init__(self, epsilon: Annotated[float, Gt(0)] = 1e-3, **kwargs: Any):
        super().__init__(**kwargs)
        self.epsilon = float(epsilon)

    def build(self, input_shape: Any) -> None:
        self.alpha = self.add_weight(name="alpha", shape=input_shape[-1:], initializer="ones")
        self.beta = self.add_weight(name="beta", shape=input_shape[-1:], initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        x = tf.cast(inputs, tf.float32) if inputs.dtype.size < 4 else inputs
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        alpha, beta = (tf.cast(tf.convert_to_tensor(weight), x.dtype) for weight in (self.alpha, self.beta))
        return tf.cast(alpha * (x - mean) / tf.sqrt(variance + self.epsilon) + beta, inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}
