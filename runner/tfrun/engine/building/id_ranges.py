"""Refuses ids in arrays that a layer's table has no row for.

TensorFlow stops at such an id on a CPU, in the middle of a step, and XLA reads the table's last row instead, without a
word. So they are looked for on the host, before anything is trained or predicted:

    rows with numbers outside of a table → call the model on them, its lookups recorded → DataError

The model says itself which numbers are ids: one that is a measurement, or that is hashed first, is in no lookup.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrun.components.layers.bag import EmbeddingBag
from tfrun.components.layers.lookup import Lookup
from tfrun.data.arrays import StoredArray, blocks
from tfrun.data.examples import Examples
from tfrun.data.table import Table
from tfrun.engine import private
from tfrun.engine.training import feed
from tfrun.errors import DataError


class Read(NamedTuple):
    """Ids that a layer has looked up.

    Attributes:
        layer: the layer.
        num_ids: those that its table has rows for are 0 to num_ids − 1.
        ids: integers (B, ...).
    """

    layer: keras.layers.Layer
    num_ids: int
    ids: np.ndarray

    def out_of_range(self, num_rows: int) -> tuple[int, int] | None:
        """Returns the first of `num_rows` rows that has an id outside of the table, and the id; None if none has."""
        if self.ids.size % num_rows:  # it isn't known which row an id is from
            return None
        ids = self.ids.reshape(num_rows, -1)
        outside = (ids < 0) | (ids >= self.num_ids)
        if not outside.any():
            return None
        row = int(outside.any(axis=1).argmax())
        return row, int(ids[row][outside[row]][0])


def check_ids(model: keras.Model, examples: Examples, table: Table) -> None:
    """Raises DataError if an array holds an id that a layer of the model looks up, and that its table has no row for.

    Args:
        model: built; it is called on a few rows, and only if an array has numbers that may be such ids.
        examples: the encoded rows. Each array is read once, in blocks.
        table: the raw rows, which know the file and line of each row.
    """
    sizes = [size for size in map(_num_ids, private.layers_of(model)) if size is not None]
    columns = examples.preprocessing.arrays
    if not sizes or not columns:
        return
    arrays = [
        examples.inputs[examples.preprocessing.input_name(column)]
        if isinstance(examples.inputs, Mapping)
        else examples.inputs
        for column in columns
    ]
    suspects = np.unique(np.concatenate([_extreme_rows(array, min(sizes)) for array in arrays]))
    at_once = feed.rows_to_evaluate(examples)
    for start in range(0, len(suspects), at_once):
        rows = suspects[start : start + at_once]
        with recorded_lookups(model) as reads:
            model(feed.take(examples, rows)[0], training=False)
        for read in reads:
            if found := read.out_of_range(len(rows)):
                row, number = int(rows[found[0]]), found[1]
                holders = [
                    column.name
                    for column, array in zip(columns, arrays, strict=True)
                    if (np.trunc(array[np.array([row])]) == number).any()
                ]
                raise DataError(_describe(table, row, holders, number=number, read=read))


def _describe(table: Table, row: int, columns: list[str], *, number: int, read: Read) -> str:
    where = table.first_row + row if table.numbers_in_source is None else int(table.numbers_in_source[row])
    column = f"column {columns[0]!r}: " if columns else ""
    return (
        f"{table.source}: {column}the id in row {where} is out of range. Received: {number}. The table of the model's "
        f"layer {read.layer.name!r} has rows for the ids 0 to {read.num_ids - 1}"
    )


@contextlib.contextmanager
def recorded_lookups(model: keras.Model) -> Iterator[list[Read]]:
    """Records, inside the context, which ids are looked up in a model that is called eagerly.

    A lookup of an id that its table has no row for reads another row, so that the call ends without an error.
    """
    reads: list[Read] = []
    with contextlib.ExitStack() as replaced:
        for layer in private.layers_of(model):
            num_ids = _num_ids(layer)
            if num_ids is not None:
                call = _recording_call(layer, num_ids, reads)
                replaced.enter_context(private.method_replaced(layer, "call", method=call))
        yield reads


def _recording_call(layer: keras.layers.Layer, num_ids: int, reads: list[Read]) -> Any:
    """Returns a layer's `call` that records ids before it looks them up."""
    look_up = layer.call

    def call(ids: Any, *args: Any, **kwargs: Any) -> Any:
        if tf.inside_function():  # in a function of the model's author, which TensorFlow keeps for training
            return look_up(ids, *args, **kwargs)
        ids = tf.convert_to_tensor(ids)
        reads.append(Read(layer, num_ids, tf.cast(ids, tf.int64).numpy()))
        return look_up(tf.clip_by_value(ids, tf.cast(0, ids.dtype), tf.cast(num_ids - 1, ids.dtype)), *args, **kwargs)

    return call


def _num_ids(layer: keras.layers.Layer) -> int | None:
    """Returns how many ids a layer has rows for, or None if it looks none up."""
    if isinstance(layer, keras.layers.Embedding):
        return layer.input_dim
    return layer.num_ids if isinstance(layer, (Lookup, EmbeddingBag)) else None


def _extreme_rows(array: np.ndarray | StoredArray, num_ids: int) -> np.ndarray:
    """Returns rows of an array (N, ...) that hold the smallest and the largest number of each place in it, int64.

    Only those places count whose numbers aren't all from 0 to num_ids − 1, that is above −1 and below num_ids, since
    what comes after the point is cut off.
    """
    places = int(np.prod(array.shape[1:]))
    lowest = np.full(places, np.nextafter(-1.0, 0.0))
    highest = np.full(places, np.nextafter(float(num_ids), 0.0))
    low_rows, high_rows = np.full(places, -1), np.full(places, -1)
    for rows in blocks(array):
        block = array[rows].reshape(-1, places)
        if block.size == 0 or (block.min() > -1 and block.max() < num_ids):
            continue
        for values, extremes, found, is_further in (
            (block.min(axis=0), lowest, (low_rows, block.argmin(axis=0)), np.less),
            (block.max(axis=0), highest, (high_rows, block.argmax(axis=0)), np.greater),
        ):
            further = is_further(values, extremes)
            extremes[further] = values[further]
            found[0][further] = rows.start + found[1][further]
    suspects = np.concatenate([low_rows, high_rows])
    return np.unique(suspects[suspects >= 0])
