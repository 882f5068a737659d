"""Tells what an object is that rows can be read from, by its methods: none of its libraries is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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
        label = "columns" if isinstance(returned, Mapping) else "arrays"
        return Source(label, lambda: [returned], 1, are_batches=True, is_read=False)
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


def _of_tf_data(dataset: Any) -> Source:
    """Returns a tf.data.Dataset. Raises DataError if it is infinite."""
    cardinality = int(dataset.cardinality())
    if cardinality == INFINITE:
        raise DataError("a tf.data.Dataset must end. Received: an infinite one. Leave out its repeat()")
    length = None if cardinality == UNKNOWN else cardinality
    return Source("a tf.data.Dataset", dataset.as_numpy_iterator, length)


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
