"""Tells what an object is that rows can be read from, by its methods: none of its libraries is imported."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tfrun.errors import DataError

KNOWN = (
    "Table, an Arrow table, a pandas or polars frame, a tf.data.Dataset, a Keras PyDataset, "
    "an object with __len__ and __getitem__ or __iter__, a tuple (x, y) of arrays"
)
INFINITE = -1  # tf.data.INFINITE_CARDINALITY
UNKNOWN = -2  # tf.data.UNKNOWN_CARDINALITY
MAX_ROWS = 4096  # of a tf.data.Dataset to read at once
BATCH_BYTES = 2**24  # likewise


@dataclass(frozen=True)
class Source:
    """An iterable of rows or batches.

    Attributes:
        label: what it is, with its article, for messages.
        elements: returns its elements, from the first one on.
        length: how many they are; None if that isn't known, though they end.
        are_batches: whether they are batches; None if the first one tells.
        is_read: whether reading it may give other rows at another time, as a pipeline does.
    """

    label: str
    elements: Callable[[], Iterable[Any]]
    length: int | None
    are_batches: bool | None = None
    is_read: bool = True


def is_frame(returned: Any) -> bool:
    """Returns whether an object is a table of Arrow's, or a frame that gives one."""
    if isinstance(returned, type):
        return False
    return any(hasattr(returned, name) for name in ("__arrow_c_stream__", "__arrow_c_array__", "__dataframe__"))


def recognize(returned: Any) -> Source:
    """Returns an object as an iterable of rows or batches. Raises DataError if it is none, or has no end."""
    kind = type(returned).__name__
    if hasattr(returned, "as_numpy_iterator") and hasattr(returned, "cardinality"):
        return _of_tf_data(returned)
    if isinstance(returned, Mapping) or (isinstance(returned, tuple) and len(returned) in (2, 3)):
        if isinstance(returned, Mapping):
            _check_columns(returned)
        return Source("arrays", lambda: [returned], 1, are_batches=True, is_read=False)
    is_other = isinstance(returned, str | bytes | np.ndarray | tuple | type)
    if is_other or not (hasattr(returned, "__iter__") or hasattr(returned, "__getitem__")):
        raise DataError(f"must return a tfrun.table.Table. Received: {kind}. Known: {KNOWN}")
    length = _length(returned)
    if length is None:
        advice = "Return tfrun.table.Rows(rows, length), or a tf.data.Dataset"
        raise DataError(f"rows need a length, and this has none, or no end. Received: {kind}. {advice}")
    is_keras = any(base.__name__ == "PyDataset" for base in type(returned).__mro__)
    label = "a Keras PyDataset" if is_keras else f"a {kind}"
    if hasattr(returned, "__getitem__"):
        return Source(label, partial(_by_index, returned, length), length, are_batches=True if is_keras else None)
    return Source(label, lambda: returned, length)


def _check_columns(columns: Mapping[Any, Any]) -> None:
    """Raises DataError if a mapping isn't one of columns: libraries have their splits in mappings too."""
    for name, column in columns.items():
        if not (hasattr(column, "__array__") or isinstance(column, Sequence)):
            kind = type(column).__name__
            raise DataError(f"a mapping must hold columns. Received: {name!r}, a {kind}. Of splits, return one")


def _of_tf_data(dataset: Any) -> Source:
    """Returns a tf.data.Dataset. Raises DataError if it is infinite."""
    cardinality = int(dataset.cardinality())
    if cardinality == INFINITE:
        raise DataError("a tf.data.Dataset must end. Received: an infinite one. Leave out its repeat()")
    num_rows = _rows_at_once(dataset.element_spec)
    if num_rows > 1:  # a call for each row takes TensorFlow many times as long
        dataset = dataset.batch(num_rows)
    length = None if cardinality == UNKNOWN else -(-cardinality // num_rows)
    return Source("a tf.data.Dataset", dataset.as_numpy_iterator, length)


def _rows_at_once(spec: Any) -> int:
    """Returns how many elements of a tf.data.Dataset can be read together; 1 if they are batches, or may differ."""
    parts = list(_flat(spec))
    shapes = [
        part.shape.as_list() for part in parts if type(part).__name__ == "TensorSpec" and part.shape.rank is not None
    ]
    are_alike = len(shapes) == len(parts) and all(size is not None for shape in shapes for size in shape)
    if not are_alike or [] not in shapes:
        return 1
    num_values = sum(math.prod(shape) for shape in shapes)
    return max(1, min(MAX_ROWS, BATCH_BYTES // (8 * max(1, num_values))))


def _flat(spec: Any) -> Iterator[Any]:
    """Yields the parts of nested mappings and tuples."""
    if isinstance(spec, Mapping | tuple | list):
        for part in spec.values() if isinstance(spec, Mapping) else spec:
            yield from _flat(part)
    else:
        yield spec


def _length(returned: Any) -> int | None:
    """Returns the number of elements, or None if there is none."""
    try:
        return len(returned)
    except (TypeError, NotImplementedError, OverflowError, ValueError):
        return None


def _by_index(source: Any, length: int) -> Iterator[Any]:
    """Yields the elements 0 to length - 1."""
    for index in range(length):
        try:
            element = source[index]
        except IndexError as error:
            raise DataError(f"its length is {length}, and element {index} doesn't exist") from error
        yield element
