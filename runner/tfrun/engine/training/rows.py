"""Gradients of tables by rows: tf.IndexedSlices with the ids that a batch has read, and never the whole table.

A table is a variable from which a batch reads rows by their ids, an embedding for example. TensorFlow returns its
gradient as the ids and a gradient for each, where an id occurs as often as it was read. `summed` adds up the rows of
each id, so that norms and updates are those of the whole table's gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfrun.engine.training.stages import Stage


class Tracing(NamedTuple):
    """How a step is traced.

    Attributes:
        in_xla: whether XLA compiles it.
        in_lanes: whether it is a step of several runs side by side.
        stage: which optimizer groups are trained, and whose layers run as in inference.
    """

    in_xla: bool = False
    in_lanes: bool = False
    stage: Stage = Stage()

    @property
    def sums_by_halves(self) -> bool:
        """Whether sums of squares are computed by halves; `clipping.sum_of_squares` explains it."""
        return self.in_xla or self.in_lanes


class RowGradient(NamedTuple):
    """The gradient of a table, in which each id has one row.

    Attributes:
        values: the gradient of a row of the table, (M, …); 0 where `is_first` is false.
        ids: the row, (M,) int32.
        is_first: whether the row's gradient stands here, (M,) bool; it stands at one of its id's places only.
    """

    values: tf.Tensor
    ids: tf.Tensor
    is_first: tf.Tensor

    def as_slices(self) -> tf.IndexedSlices:
        """Returns the same gradient as TensorFlow represents it."""
        return tf.IndexedSlices(self.values, self.ids)


def is_by_rows(gradient: Any) -> bool:
    """Returns whether a gradient is one by rows."""
    return isinstance(gradient, tf.IndexedSlices | RowGradient)


def each_number(gradient: Any, function: Callable[[tf.Tensor], tf.Tensor]) -> Any:
    """Applies a function that keeps 0 to the numbers of a gradient, whole or by rows."""
    if isinstance(gradient, RowGradient):
        return gradient._replace(values=function(gradient.values))
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(function(gradient.values), gradient.indices, gradient.dense_shape)
    return function(gradient)


def numbers(gradient: Any) -> tf.Tensor:
    """Returns the numbers of a gradient: a tensor, or those of its rows."""
    return gradient.values if is_by_rows(gradient) else gradient


class Places(NamedTuple):
    """Which of the ids that a batch has read are the same.

    Attributes:
        place: where the sum of each id's rows stands, (M,) int32.
        is_first: whether that is the place of the id itself, (M,) bool.
    """

    place: tf.Tensor
    is_first: tf.Tensor

    @classmethod
    def noted(cls, ids: tf.Tensor, last_place: tf.Variable) -> Places:
        """Returns them after XLA has noted at which place each id stands last.

        Args:
            ids: (M,) int32.
            last_place: (number of rows of the table,) int32; its values mean nothing afterwards.
        """
        places = tf.range(ids.shape[0])
        tf.raw_ops.ResourceScatterUpdate(resource=last_place.handle, indices=ids, updates=places)
        place = tf.gather(last_place, ids)
        return cls(place, place == places)


def summed(slices: tf.IndexedSlices, *, places: Places | None, in_xla: bool) -> RowGradient:
    """Adds up the rows of each id.

    Args:
        slices: M rows and their ids; M is known when the program is traced.
        places: of the ids. None sorts them.
        in_xla: whether the step is traced for XLA, which needs shapes that don't depend on the ids.
    """
    ids = tf.cast(slices.indices, tf.int32)
    if not in_xla:
        return _summed_by_unique(slices.values, ids)
    if places is None:
        return _summed_by_sort(slices.values, ids)
    sums = tf.math.unsorted_segment_sum(slices.values, places.place, ids.shape[0])
    return RowGradient(sums, ids, places.is_first)


def _summed_by_unique(values: tf.Tensor, ids: tf.Tensor) -> RowGradient:
    count = ids.shape[0]
    unique, place = tf.unique(ids)
    padded = tf.reshape(tf.pad(unique, [[0, count - tf.size(unique)]]), [count])
    is_first = tf.range(count) < tf.size(unique)
    return RowGradient(tf.math.unsorted_segment_sum(values, place, count), padded, is_first)


def _summed_by_sort(values: tf.Tensor, ids: tf.Tensor) -> RowGradient:
    count = ids.shape[0]
    order = tf.argsort(ids, stable=True)
    ids = tf.gather(ids, order)
    is_new = tf.concat([[True], ids[1:] != ids[:-1]], axis=0)
    place = tf.cumsum(tf.cast(is_new, tf.int32)) - 1
    sums = tf.math.unsorted_segment_sum(tf.gather(values, order), place, count)
    unique = tf.maximum(tf.math.unsorted_segment_max(ids, place, count), 0)  # the places that are left get id 0
    return RowGradient(sums, unique, tf.range(count) <= place[-1])


def write_rows(table: tf.Variable, ids: tf.Tensor, rows: tf.Tensor, *, where: tf.Tensor, in_xla: bool) -> None:
    """Writes rows of a variable, in place.

    Args:
        table: (N, …).
        ids: (M,) int32, different ones where `where` is true.
        rows: (M, …).
        where: which of them are written, (M,) bool.
        in_xla: whether the step is traced for XLA, which leaves out ids past the end; other loops refuse them.
    """
    if in_xla:
        ids = tf.where(where, ids, table.shape[0])
    else:
        places = tf.where(where)[:, 0]
        ids, rows = tf.gather(ids, places), tf.gather(rows, places)
    tf.raw_ops.ResourceScatterUpdate(resource=table.handle, indices=ids, updates=rows)


def first_part(gradients: Sequence[Any], count: int) -> list[Any]:
    """Returns what `add_part` adds further microbatches to, as tensors that a loop can carry."""

    def started(gradient: Any) -> Any:
        if not isinstance(gradient, tf.IndexedSlices):
            return gradient
        return tuple(tf.repeat(part[None], count, axis=0) for part in (gradient.values, gradient.indices))

    return [started(gradient) for gradient in gradients]


def add_part(so_far: Sequence[Any], gradients: Sequence[Any], k: tf.Tensor) -> list[Any]:
    """Adds the gradients of the k-th microbatch."""

    def added(total: Any, gradient: Any) -> Any:
        if not isinstance(gradient, tf.IndexedSlices):
            return total + gradient
        parts = (gradient.values, gradient.indices)
        return tuple(tf.tensor_scatter_nd_update(all, [[k]], [part]) for all, part in zip(total, parts, strict=True))

    return [added(total, gradient) for total, gradient in zip(so_far, gradients, strict=True)]


def mean_of_parts(so_far: Sequence[Any], like: Sequence[Any], count: int) -> list[Any]:
    """Returns the mean of the gradients of `count` microbatches; `like` are those of one of them."""

    def mean(total: Any, gradient: Any) -> Any:
        if not isinstance(gradient, tf.IndexedSlices):
            return total / count
        values, ids = total
        values = tf.reshape(values, [-1, *values.shape[2:]]) / tf.cast(count, values.dtype)
        return tf.IndexedSlices(values, tf.reshape(ids, [-1]), gradient.dense_shape)

    return [mean(total, gradient) for total, gradient in zip(so_far, like, strict=True)]
