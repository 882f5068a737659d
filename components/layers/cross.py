"""Defines `feature_cross`, which gives each combination of several columns' values an id."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrun import register


@register.layer("feature_cross")
@keras.saving.register_keras_serializable("tfrun.layers")
class FeatureCross(keras.layers.Layer):
    """Feature crosses: returns each cross's cell, (B, num_crosses) int32, as an id in one common range of `num_ids`
    ids.

    The cell of columns a, b, … is ((id_a·size_b + id_b)·size_c + id_c)…, taken modulo `max_size` if a cross has more
    cells. A number column's id is the number of its boundaries that are ≤ its value. Cross k's ids start at
    `offsets[k]`. Inputs are {"numbers": (B, n), "categories": (B, c)}.

    Source: Cheng et al., "Wide & deep learning for recommender systems", 2016, arXiv:1606.07792, equation 1.

    Args:
        crosses: the columns of each cross, two or more.
        boundaries: number column -> its increasing boundaries, in the order of `inputs["numbers"]`.
        category_sizes: text column -> its number of ids, in the order of `inputs["categories"]`.
        max_size: the largest number of cells of one cross; best a prime, so that the remainder depends on all columns.
    """

    def __init__(
        self,
        crosses: Sequence[Sequence[str]],
        boundaries: Mapping[str, Sequence[float]],
        category_sizes: Mapping[str, int],
        max_size: int = 10007,
        **kwargs: Any,
    ):
        super().__init__(autocast=False, **kwargs)  # float16 numbers would fall into other buckets
        self.crosses = [list(cross) for cross in crosses]
        crossed = {name for cross in self.crosses for name in cross}
        # those that no cross has are not read, since the program would then be made for them
        self.boundaries = {name: [float(x) for x in boundaries[name]] if name in crossed else [] for name in boundaries}
        self.category_sizes = {name: int(size) for name, size in category_sizes.items()}
        self.max_size = int(max_size)
        cells = [math.prod(self._size(name) for name in cross) for cross in self.crosses]
        sizes = [min(size, self.max_size) for size in cells]
        self.hashed = [size > self.max_size for size in cells]
        self.offsets = [sum(sizes[:k]) for k in range(len(sizes))]
        self.num_ids = sum(sizes)

    def _size(self, name: str) -> int:
        return len(self.boundaries[name]) + 1 if name in self.boundaries else self.category_sizes[name]

    def _ids(self, inputs: Mapping[str, tf.Tensor], name: str) -> tf.Tensor:
        if name in self.boundaries:
            value = inputs["numbers"][:, list(self.boundaries).index(name), None]
            return tf.reduce_sum(tf.cast(value >= tf.constant(self.boundaries[name], value.dtype), tf.int64), axis=1)
        return tf.cast(inputs["categories"][:, list(self.category_sizes).index(name)], tf.int64)

    def call(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        ids = {name: self._ids(inputs, name) for name in {name for cross in self.crosses for name in cross}}
        cells = []
        for cross, offset, hashed in zip(self.crosses, self.offsets, self.hashed, strict=True):
            cell = ids[cross[0]]
            for name in cross[1:]:
                cell = cell * self._size(name) + ids[name]
                if hashed:  # after each column, so that no product overflows int64
                    cell = cell % self.max_size
            cells.append(cell + offset)
        return tf.cast(tf.stack(cells, axis=1), tf.int32)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        return next(iter(input_shape.values()))[0], len(self.crosses)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        options = ("crosses", "boundaries", "category_sizes", "max_size")
        return {**config, **{name: getattr(self, name) for name in options}}
