"""Tables that are read by rows: `add_table` makes one, `rows_of` reads its rows, and `Lookup` is a layer with one."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

MAX_ROWS = 2**31 - 1  # ids are int32


def add_table(layer: keras.layers.Layer, name: str, *, shape: tuple[int, int], initializer: Any) -> keras.Variable:
    """Returns a new trainable variable of a layer that `rows_of` can read by rows in mixed precision too.

    Raises:
        ValueError: it would have more rows than an id, of 32 bits, can number.
    """
    if shape[0] > MAX_ROWS:
        raise ValueError(f"a table has at most {MAX_ROWS:,} rows. Received: {shape[0]:,}. Fewer bins give fewer rows")
    # With autocast, each read of the variable would cast all of its rows to half precision.
    return layer.add_weight(name=name, shape=shape, initializer=initializer, autocast=False)


def rows_of(table: keras.Variable, ids: tf.Tensor, *, dtype: str | None = None) -> tf.Tensor:
    """Returns the rows of a table for ids: (num_ids, dim) and integers of any shape S to (*S, dim).

    The rows are gathered from the variable itself. `tf.convert_to_tensor(table)` reads all of it, and TensorFlow
    copies a variable that is read after rows of it were written, so each step would take as long as the table is
    large. The gradient by the table is a `tf.IndexedSlices` with a row for each id, in the table's dtype.

    Args:
        table: a variable made by `add_table`; in a `keras.StatelessScope` its value there.
        ids: rows of the table, from 0 to num_ids − 1.
        dtype: what the rows are cast to, if not the table's own.
    """
    rows = tf.gather(table.value, ids)
    return rows if dtype is None else tf.cast(rows, dtype)


@keras.saving.register_keras_serializable("tfrun.layers")
class Lookup(keras.layers.Layer):
    """y = v[ids]: integer ids (B, L) to floats (B, L, dim), like `keras.layers.Embedding`, but read by rows.

    Args:
        num_ids: the number of ids, which run from 0 to num_ids − 1.
        dim: the length of each id's vector.
    """

    def __init__(self, num_ids: int, dim: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_ids = num_ids
        self.dim = dim
        self.initializer = keras.initializers.get("uniform")

    def build(self, input_shape: Any = None) -> None:
        self.embeddings = add_table(self, "embeddings", shape=(self.num_ids, self.dim), initializer=self.initializer)

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        return rows_of(self.embeddings, ids, dtype=self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape, self.dim)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_ids": self.num_ids, "dim": self.dim}
