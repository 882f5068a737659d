"""Vectors of a table's text columns, for models that learn an embedding of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.components.layers.bag import EmbeddingBag
from tfrun.components.layers.hashed import Hashing, IdVectors
from tfrun.data.table import Features
from tfrun.errors import unknown

DEFAULT_DIM = 8  # of a column that a mapping of `embedding_dim` doesn't name


def dims_of(embedding_dim: int | Mapping[str, int], features: Features) -> dict[str, int]:
    """Returns the length of the vectors of each text column, those of tokens too.

    Raises:
        ConfigError: `embedding_dim` names a column that has no ids.
    """
    columns = [*features.categories, *features.tokens]
    if isinstance(embedding_dim, int):
        return dict.fromkeys(columns, embedding_dim)
    for name in embedding_dim:
        if name not in columns:
            raise unknown("model.embedding_dim", "text column", name=name, known=columns)
    return {name: embedding_dim.get(name, DEFAULT_DIM) for name in columns}


class ColumnVectors:
    """The vectors of text columns: of the id of a category, and the mean of those of the ids of a bag.

    Categories whose vectors have the same length share a table, in which the ids of each begin after those of the one
    before it. It is no layer: `build` adds the tables to a layer, which must keep `bags`, layers, as an attribute.

    Args:
        features: the description of the model's inputs.
        dims: column -> the length of its vectors; columns that it lacks have none.
        hashing: how tables are hashed, or None.
        dtype: the dtype policy of the layer.

    Attributes:
        bags: token column -> the layer that returns its vectors, (B, length) ids to (B, dim).
        width: the length of all vectors of a row one after the other.
    """

    def __init__(self, features: Features, dims: Mapping[str, int], *, hashing: Hashing | None = None, dtype: Any):
        self._tables: list[_Table] = []
        names = list(features.categories)
        for dim in dict.fromkeys(dims[name] for name in names if name in dims):
            places = [k for k, name in enumerate(names) if dims.get(name) == dim]
            sizes = [features.categories[names[k]] for k in places]
            self._tables.append(_Table(places, sizes, dim=dim, hashing=hashing, is_all=len(places) == len(names)))
        self.bags = bags(features, dims, combine="mean", initializer="uniform", hashing=hashing, dtype=dtype)
        self.width = sum(table.width for table in self._tables) + sum(bag.dim for bag in self.bags.values())

    def build(self, layer: keras.layers.Layer) -> None:
        """Adds the tables, `embeddings`, to a layer; several have their length in their name: `embeddings_16`."""
        self._dtype = layer.compute_dtype
        for table in self._tables:
            table.vectors.build(layer, "uniform", suffix=f"_{table.dim}" if len(self._tables) > 1 else "")
        for bag in self.bags.values():
            bag.build()

    def __call__(self, inputs: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """Returns the vectors, (B, n, dim) of n columns at a time, in all those of each column."""
        fields = [table(inputs["categories"], dtype=self._dtype) for table in self._tables]
        return fields + [bag(inputs[name])[:, None] for name, bag in self.bags.items()]

    def joined(self, inputs: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """Returns the same vectors one after the other, (B, n·dim)."""
        return flat(self(inputs))


class _Table:
    """A table of some of the categories.

    Args:
        places: the columns of `inputs["categories"]`.
        sizes: the number of ids of each.
        dim: the length of their vectors.
        hashing: how it is hashed, or None.
        is_all: whether these are all columns.
    """

    def __init__(self, places: list[int], sizes: list[int], *, dim: int, hashing: Hashing | None, is_all: bool):
        self.offsets, num_ids = stacked(sizes)
        self.vectors = IdVectors(num_ids, dim, hashing=hashing)
        self.dim = dim
        self.width = dim * len(places)
        self._places = None if is_all else places

    def __call__(self, categories: tf.Tensor, *, dtype: str) -> tf.Tensor:
        ids = categories if self._places is None else tf.gather(categories, self._places, axis=1)
        return self.vectors(ids + tf.constant(self.offsets), dtype=dtype)


class ColumnEmbeddings(keras.layers.Layer):
    """Returns the vectors of a table's text columns, a list of floats (B, n, dim): `ColumnVectors` as a layer.

    The arguments are those of `ColumnVectors`.
    """

    def __init__(self, features: Features, dims: Mapping[str, int], *, hashing: Hashing | None, **kwargs: Any):
        super().__init__(**kwargs)
        self.vectors = ColumnVectors(features, dims, hashing=hashing, dtype=self.dtype_policy)
        self.bags = self.vectors.bags
        self.width = self.vectors.width

    def build(self, input_shape: Any = None) -> None:
        self.vectors.build(self)

    def call(self, inputs: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        return self.vectors(inputs)


def flat(fields: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Returns the vectors of each of several fields, (B, n, dim), one after the other: (B, n·dim)."""
    return [tf.reshape(field, [-1, field.shape[1] * field.shape[2]]) for field in fields]


def bags(
    features: Features,
    dims: Mapping[str, int],
    *,
    combine: Any,
    initializer: str,
    hashing: Hashing | None = None,
    dtype: Any,
) -> dict[str, EmbeddingBag]:
    """Returns a layer for each token column of `dims`: ids (B, length) to (B, dim)."""
    rows, hashes = (None, 2) if hashing is None else (hashing.rows, hashing.hashes)
    options = {"rows": rows, "hashes": hashes, "dtype": dtype}
    return {
        name: EmbeddingBag(size, dims[name], combine, initializer, name=f"tokens_{k}", **options)
        for k, (name, (size, _)) in enumerate(features.tokens.items(), start=1)
        if name in dims
    }


def stacked(sizes: Sequence[int], start: int = 0) -> tuple[np.ndarray, int]:
    """Returns each column's first row in one common table, (C,) int32, and the table's number of rows."""
    ends = np.cumsum([start, *sizes])
    return ends[:-1].astype("int32"), int(ends[-1])
