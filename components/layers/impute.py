"""Defines `impute`, which fills empty number cells inside the model, so that an exported model does so too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrun import register


@register.layer("impute")
@keras.saving.register_keras_serializable("tfrun.layers")
class Impute(keras.layers.Layer):
    """Imputation of empty cells: y[i, k] = values[k] if x[i, k] is nan, else x[i, k]; x and y are (B, F) floats.

    Args:
        values: one number for each of the F columns, for example its median on the training split.
    """

    def __init__(self, values: Sequence[float], **kwargs: Any):
        super().__init__(**kwargs)
        self.values = [float(value) for value in values]

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.where(tf.math.is_nan(inputs), tf.constant(self.values, inputs.dtype), inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "values": self.values}
