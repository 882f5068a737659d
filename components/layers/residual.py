"""Defines `residual_block`, dense layers with a skip connection."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Gt

from tfrun import Activation, register
from tfrun.components.models.initial import initializer_for


@register.layer("residual_block")
@keras.saving.register_keras_serializable("tfrun.layers")
class ResidualBlock(keras.layers.Layer):
    """Residual block: y = x + h(x), where h is a stack of dense layers of x's width: (…, width) to (…, width).

    Source: He et al., "Deep residual learning for image recognition", 2015, arXiv:1512.03385; Géron, chapter 12
    (ResidualBlock).

    Args:
        num_layers: the number of dense layers in h.
        activation: the activation of each of them.
    """

    def __init__(self, num_layers: Annotated[int, Gt(0)] = 2, activation: Activation = "elu", **kwargs: Any):
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        initializer = initializer_for(self.activation)
        self.hidden = [
            keras.layers.Dense(
                width, self.activation, kernel_initializer=initializer, dtype=self.dtype_policy, name=f"hidden_{k}"
            )
            for k in range(1, self.num_layers + 1)
        ]
        for layer in self.hidden:
            layer.build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        y = inputs
        for layer in self.hidden:
            y = layer(y)
        return inputs + y

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "num_layers": self.num_layers, "activation": activation}
