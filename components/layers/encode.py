"""Defines `dense_features`, which turns a table's columns, or an array, into one matrix of floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrun import register
from tfrun.data.table import Features


@register.layer("dense_features")
@keras.saving.register_keras_serializable("tfrun.layers")
class DenseFeatures(keras.layers.Layer):
    """Features of a table as one matrix, (B, F) floats: numbers, one-hot categories, token counts; or an array, flat.

    Inputs are {"numbers": (B, n), "categories": (B, c) ids, <token column>: (B, length) ids}, without the keys of kinds
    that the table lacks, or an array (B, ...). For a table F = n + Σ category_sizes + Σ token_sizes.

    Args:
        category_sizes: the number of ids of each of the c categories.
        token_sizes: token column -> its number of ids; id 0 isn't counted.
    """

    def __init__(self, category_sizes: Sequence[int] = (), token_sizes: Mapping[str, int] | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.category_sizes = [int(size) for size in category_sizes]
        self.token_sizes = {name: int(size) for name, size in (token_sizes or {}).items()}

    @classmethod
    def of(cls, features: Features, **kwargs: Any) -> DenseFeatures:
        """Returns the layer for a data set's features."""
        tokens = {name: size for name, (size, _) in features.tokens.items()}
        return cls(list(features.categories.values()), tokens, **kwargs)

    def call(self, inputs: Any) -> tf.Tensor:
        if not isinstance(inputs, dict):
            return tf.reshape(inputs, [-1, _size(inputs.shape[1:])])
        parts = [tf.cast(inputs["numbers"], self.compute_dtype)] if "numbers" in inputs else []
        for k, size in enumerate(self.category_sizes):
            parts.append(tf.one_hot(inputs["categories"][:, k], size, dtype=self.compute_dtype))
        parts += [self._counts(inputs[name], size) for name, size in self.token_sizes.items()]
        return tf.concat(parts, axis=1)

    def _counts(self, ids: tf.Tensor, size: int) -> tf.Tensor:
        """Returns how often each id occurs in a row, (B, size); id 0 isn't counted."""
        rows = tf.broadcast_to(tf.range(tf.shape(ids)[0])[:, None], tf.shape(ids))
        is_token = tf.cast(ids > 0, self.compute_dtype)
        return tf.scatter_nd(tf.stack([rows, ids], axis=-1), is_token, [tf.shape(ids)[0], size])

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        if not isinstance(input_shape, dict):
            return input_shape[0], _size(input_shape[1:])
        numbers = input_shape.get("numbers")
        rows = next(iter(input_shape.values()))[0]
        return rows, (numbers[1] if numbers else 0) + sum(self.category_sizes) + sum(self.token_sizes.values())

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "category_sizes": self.category_sizes, "token_sizes": self.token_sizes}


def _size(shape: Any) -> int:
    size = 1
    for length in shape:
        size *= int(length)
    return size
