"""From a table's columns, or an array, to one matrix of floats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrun import register


@register.layer("dense_features")
@keras.saving.register_keras_serializable("tfrun.layers")
class DenseFeatures(keras.layers.Layer):
    """Gives (B, F) floats: a table's numbers beside its one-hot categories, or an array flattened.

    Inputs are {"numbers": (B, n), "categories": (B, c) ids}, either key left out where there are none, or an array
    (B, ...). For a table F = n + Σ category_sizes.

    Args:
        category_sizes: the number of ids of each of the c categories.
    """

    def __init__(self, category_sizes: Sequence[int] = (), **kwargs: Any):
        super().__init__(**kwargs)
        self.category_sizes = [int(size) for size in category_sizes]

    def call(self, inputs: Any) -> tf.Tensor:
        if not isinstance(inputs, dict):
            return tf.reshape(inputs, [-1, _size(inputs.shape[1:])])
        parts = [tf.cast(inputs["numbers"], self.compute_dtype)] if "numbers" in inputs else []
        for k, size in enumerate(self.category_sizes):
            parts.append(tf.one_hot(inputs["categories"][:, k], size, dtype=self.compute_dtype))
        return tf.concat(parts, axis=1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        if not isinstance(input_shape, dict):
            return input_shape[0], _size(input_shape[1:])
        numbers = input_shape.get("numbers")
        rows = next(iter(input_shape.values()))[0]
        return rows, (numbers[1] if numbers else 0) + sum(self.category_sizes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "category_sizes": self.category_sizes}


def _size(shape: Any) -> int:
    size = 1
    for length in shape:
        size *= int(length)
    return size
