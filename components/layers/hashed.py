"""Vectors of ids: a table with a row for each id or, with hashing, weighted sums of the rows of a small table."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfrun.components.layers.lookup import add_table, rows_of

PRIME = 2**31 - 1  # ids are smaller, and products of two numbers below it fit into int64
WEIGHTS_PER_ROW = 10


@dataclass(frozen=True)
class Hashing:
    """Describes a hashed table.

    Attributes:
        rows: the number of rows that all ids share; a table that needs no more rows than this isn't hashed.
        hashes: the number of rows that are summed for an id.
    """

    rows: int
    hashes: int = 2

    @classmethod
    def of(cls, rows: int | None, hashes: int) -> Hashing | None:
        """Returns the hashing that the parameters `embedding_rows` and `embedding_hashes` ask for, if any."""
        return None if rows is None else cls(rows, hashes)


class IdVectors:
    """v(id) = table[id], or with hashing v(id) = Σ_k importance[h₀(id), k] · table[h_k(id)].

    h_k(id) = ((a_k·id + b_k) mod 2³¹ − 1) mod rows is a universal hash; its a_k and b_k never change. So two ids have
    the same vector only if all their hashes agree. h₀(id) is the id itself, unless there are more than 10 ids for each
    row: then it is a hash too, of 10 · rows values. The importances start at 1.

    It is no layer: its variables belong to the layer that `build` gets.

    Source: Svenstrup et al., "Hash embeddings for efficient word representations", 2017, arXiv:1709.03933, section 2;
    Carter and Wegman, "Universal classes of hash functions", 1979 (the hash).

    Args:
        num_ids: the number of ids, which run from 0 to num_ids − 1.
        dim: the length of a vector.
        hashing: how the table is hashed, or None.
    """

    def __init__(self, num_ids: int, dim: int, *, hashing: Hashing | None = None):
        self.num_ids = num_ids
        self.dim = dim
        self.hashing = hashing if hashing is not None and hashing.rows < num_ids else None

    def build(self, layer: keras.layers.Layer, initializer: Any, *, suffix: str = "") -> None:
        """Adds the variables `embeddings` and, with hashing, `importance` to a layer; `suffix` ends their names."""
        num_rows = self.num_ids if self.hashing is None else self.hashing.rows
        self.table = add_table(layer, f"embeddings{suffix}", shape=(num_rows, self.dim), initializer=initializer)
        if self.hashing is not None:
            self.num_weights = min(self.num_ids, WEIGHTS_PER_ROW * num_rows)
            shape = (self.num_weights, self.hashing.hashes)
            self.importance = add_table(layer, f"importance{suffix}", shape=shape, initializer="ones")

    def __call__(self, ids: tf.Tensor, *, dtype: str) -> tf.Tensor:
        """Returns the vectors of integer ids of any shape S, (*S, dim)."""
        if self.hashing is None:
            return rows_of(self.table, ids, dtype=dtype)
        functions = range(1, self.hashing.hashes + 1)
        rows = tf.stack([universal_hash(ids, k, size=self.hashing.rows) for k in functions], axis=-1)
        is_hashed = self.num_weights < self.num_ids
        weights = rows_of(
            self.importance, universal_hash(ids, 0, size=self.num_weights) if is_hashed else ids, dtype=dtype
        )
        return tf.reduce_sum(weights[..., None] * rows_of(self.table, rows, dtype=dtype), axis=-2)


def universal_hash(ids: tf.Tensor, number: int, *, size: int) -> tf.Tensor:
    """Returns hashes from 0 to size − 1 of ids from 0 to 2³¹ − 2, int32 of the same shape.

    Args:
        ids: integers of any shape.
        number: which of the functions to use; they are independent of each other.
        size: the number of values.
    """
    factor, offset = hash_numbers(number)
    hashed = (tf.cast(ids, tf.int64) * factor + offset) % PRIME
    return tf.cast(hashed % size, tf.int32)


def hash_numbers(number: int) -> tuple[int, int]:
    """Returns a from 1 to 2³¹ − 2 and b from 0 to 2³¹ − 2 of a hash function, the same in every version."""
    digest = hashlib.sha256(f"tfrun hash {number}".encode()).digest()
    factor, offset = (int.from_bytes(digest[start : start + 8], "big") for start in (0, 8))
    return factor % (PRIME - 1) + 1, offset % PRIME
