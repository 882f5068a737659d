"""Defines `embedding`, which turns each id into a vector."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Gt

from tfrun import Initializer, register
from tfrun.components.layers.lookup import Lookup


@register.layer("embedding")
@keras.saving.register_keras_serializable("tfrun.layers")
class Embedding(Lookup):
    """Embedding: y = v[ids]: ids (B, ...) to floats (B, ..., dim), like `keras.layers.Embedding`.

    That reads its whole table at each step, which takes as long as the table is large; this layer reads the rows of the
    ids. Ids may be floats, as those of an array are.

    Args:
        num_ids: the number of ids, which run from 0 to num_ids − 1.
        dim: the length of each id's vector.
        embeddings_initializer: the initializer of the vectors, (num_ids, dim).
    """

    def __init__(
        self,
        num_ids: Annotated[int, Gt(1)],
        dim: Annotated[int, Gt(0)] = 8,
        embeddings_initializer: Initializer = "random_uniform",
        **kwargs: Any,
    ):
        # with autocast, an array's ids would be rounded to half precision
        super().__init__(num_ids, dim, autocast=False, **kwargs)
        self.initializer = keras.initializers.get(embeddings_initializer)

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        return super().call(tf.cast(ids, tf.int32))

    def get_config(self) -> dict[str, Any]:
        initializer = keras.initializers.serialize(self.initializer)
        return {**super().get_config(), "embeddings_initializer": initializer}

    def example_inputs(self) -> tf.Tensor:
        """Returns ids, (4, 3) int32, with which `tfrun check` tests the layer."""
        return tf.constant([[1, 0, 0], [1, 1, 0], [0, 0, 0], [self.num_ids - 1, 1, self.num_ids - 1]])
