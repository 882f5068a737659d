"""Defines the layer that hashes the words of texts."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfrun.layers")
class HashedWords(keras.layers.Layer):
    """y[i, k] = 1 + hash(word k of x[i, 0]) mod bins, (B, length) int32 for (B, 1) strings; 0 behind the last word.

    Words are split at white space. The hash is that of `keras.layers.Hashing`: a word alone in its text has the id that
    this layer gives it with `bins + 1` bins and the mask "".

    Args:
        bins: the number of ids that words share, from 1 on.
        length: the number of words to keep.
    """

    def __init__(self, bins: int, length: int, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.bins = bins
        self.length = length

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        words = tf.strings.split(inputs[:, 0])
        ids = words.with_flat_values(tf.strings.to_hash_bucket_fast(words.flat_values, self.bins) + 1)
        return tf.cast(ids.to_tensor(shape=(None, self.length)), tf.int32)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        return keras.KerasTensor((inputs.shape[0], self.length), dtype="int32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bins": self.bins, "length": self.length}
