"""Defines a stack of hidden layers, which models of a table's columns share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrun.components.layers.dropout import Dropout
from tfrun.components.models.initial import initializer_for


class HiddenStack(keras.layers.Layer):
    """Applies dense layers, `hidden_1`, `hidden_2` and so on, each followed by dropout: (B, width) to (B, last width).

    Args:
        units: the width of each layer; without any, the inputs are returned.
        activation: their activation.
        dropout: the share of values dropped in training.
    """

    def __init__(self, units: Sequence[int], activation: Any, dropout: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = list(units)
        options = {"kernel_initializer": initializer_for(activation), "dtype": self.dtype_policy}
        numbers = range(1, len(self.units) + 1)
        self.hidden = [
            keras.layers.Dense(width, activation, name=f"hidden_{k}", **options)
            for k, width in zip(numbers, self.units, strict=True)
        ]
        self.dropouts = [Dropout(dropout, name=f"dropout_{k}") for k in numbers if dropout]

    def build(self, input_shape: Any) -> None:
        for layer, width in zip(self.hidden, [input_shape[-1], *self.units], strict=False):
            layer.build((None, width))
        for layer in self.dropouts:
            layer.build()

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        x = inputs
        for k, layer in enumerate(self.hidden):
            x = layer(x)
            if self.dropouts:
                x = self.dropouts[k](x, training=training)
        return x

    def width(self, num_inputs: int) -> int:
        """Returns the width of the outputs for that of the inputs."""
        return self.units[-1] if self.units else num_inputs
