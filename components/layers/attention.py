"""Defines `attention_block`, in which each position of a sequence attends to all positions."""

from __future__ import annotations

import math
from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Gt

from tfrun import register


@register.layer("attention_block")
@keras.saving.register_keras_serializable("tfrun.layers")
class AttentionBlock(keras.layers.Layer):
    """Multi-head attention block: y = LayerNorm(q + W_o·softmax(Q·Kᵀ/√d)·V), with Q = W_q·q, K = W_k·v and V = W_v·v,
    in several heads.

    Inputs are (q, v), a query (B, T, width) and the sequence (B, S, width_v) that it attends to, or one sequence for
    both; the result is (B, T, width). d is width/num_heads, the length of a head's vectors.

    Source: Vaswani et al., "Attention is all you need", 2017, arXiv:1706.03762, section 3.2.

    Args:
        num_heads: the number of heads that share the width, which must be a multiple of it.

    Raises:
        ValueError: `num_heads` doesn't divide the width.
    """

    def __init__(self, num_heads: Annotated[int, Gt(0)] = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, input_shape: Any) -> None:
        query, value = input_shape if isinstance(input_shape[0], list | tuple) else (input_shape, input_shape)
        self.width = query[-1]
        if self.width % self.num_heads:
            raise ValueError(f"num_heads must divide the width. Received: {self.num_heads} heads, width {self.width}")
        self.projections = [
            keras.layers.Dense(self.width, use_bias=False, dtype=self.dtype_policy, name=name)
            for name in ("query", "key", "value", "output")
        ]
        for layer, shape in zip(self.projections, (query, value, value, query), strict=True):
            layer.build(shape)
        self.normalization = keras.layers.LayerNormalization(dtype=self.dtype_policy, name="normalization")
        self.normalization.build(query)

    def call(self, inputs: Any) -> tf.Tensor:
        query, value = inputs if isinstance(inputs, list | tuple) else (inputs, inputs)
        to_query, to_key, to_value, to_output = self.projections
        q, k, v = self._heads(to_query(query)), self._heads(to_key(value)), self._heads(to_value(value))
        scores = tf.matmul(q, k, transpose_b=True) / math.sqrt(self.width // self.num_heads)  # (B, heads, T, S)
        attended = tf.transpose(tf.matmul(tf.nn.softmax(scores), v), [0, 2, 1, 3])  # (B, T, heads, d)
        return self.normalization(query + to_output(tf.reshape(attended, tf.shape(query))))

    def _heads(self, x: tf.Tensor) -> tf.Tensor:
        """Splits the vectors of x, (B, length, width), into those of the heads: (B, num_heads, length, d)."""
        split = tf.reshape(x, [tf.shape(x)[0], x.shape[1], self.num_heads, self.width // self.num_heads])
        return tf.transpose(split, [0, 2, 1, 3])

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0] if isinstance(input_shape[0], list | tuple) else input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_heads": self.num_heads}
