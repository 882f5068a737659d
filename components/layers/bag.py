"""Defines `embedding_bag`, which turns a bag of ids into one vector."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import keras
import tensorflow as tf
from annotated_types import Gt

from tfrun import register
from tfrun.components.layers.hashed import Hashing, IdVectors


@register.layer("embedding_bag")
@keras.saving.register_keras_serializable("tfrun.layers")
class EmbeddingBag(keras.layers.Layer):
    """Embedding bag: y = Σ_k v[ids_k] over a row's nonzero ids, or their mean: integer ids (B, L) to floats (B, dim).

    A row without nonzero ids gives 0. The result equals that of a dense layer on the counts of the ids, (B, num_ids),
    but that matrix is never built.

    Args:
        num_ids: the number of ids, which run from 0 to num_ids − 1.
        dim: the length of each id's vector.
        combine: whether to sum the vectors or to average them.
        embeddings_initializer: the initializer of the vectors, (num_ids, dim).
        rows: the rows of a hashed table, of which an id's vector is a weighted sum; None gives each id its own row.
        hashes: how many of these rows are summed for an id.
    """

    def __init__(
        self,
        num_ids: Annotated[int, Gt(1)],
        dim: Annotated[int, Gt(0)] = 8,
        combine: Literal["mean", "sum"] = "mean",
        embeddings_initializer: Any = "uniform",
        rows: Annotated[int, Gt(0)] | None = None,
        hashes: Annotated[int, Gt(0)] = 2,
        **kwargs: Any,
    ):
        super().__init__(autocast=False, **kwargs)  # with it, an array's ids would be rounded to half precision
        self.num_ids = num_ids
        self.dim = dim
        self.combine = combine
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.rows = rows
        self.hashes = hashes
        self.vectors = IdVectors(num_ids, dim, hashing=Hashing.of(rows, hashes))

    def build(self, input_shape: Any = None) -> None:
        self.vectors.build(self, self.embeddings_initializer)

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        ids = tf.cast(ids, tf.int32)
        is_present = tf.cast(ids > 0, self.compute_dtype)
        vectors = self.vectors(ids, dtype=self.compute_dtype)
        total = tf.reduce_sum(vectors * is_present[..., None], axis=1)
        if self.combine == "sum":
            return total
        return total / tf.maximum(tf.reduce_sum(is_present, axis=1, keepdims=True), 1.0)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        return input_shape[0], self.dim

    def get_config(self) -> dict[str, Any]:
        initializer = keras.initializers.serialize(self.embeddings_initializer)
        options = {key: getattr(self, key) for key in ("num_ids", "dim", "combine", "rows", "hashes")}
        return {**super().get_config(), **options, "embeddings_initializer": initializer}

    def example_inputs(self) -> tf.Tensor:
        """Returns ids, (4, 3) int32, with which `tfrun check` tests the layer."""
        return tf.constant([[1, 0, 0], [1, 1, 0], [0, 0, 0], [self.num_ids - 1, 1, self.num_ids - 1]])
