"""Reads the rows or batches of an iterable into arrays, once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from tfrun import host_memory
from tfrun.data.adapters.recognize import Source
from tfrun.data.sinks import MemorySink
from tfrun.errors import DataError, ResourceError

ROWS_AT_ONCE = 4096  # single rows that become arrays together
ELEMENTS = "(x, y), (x, y, weights) or a mapping of columns"

Parts = dict[tuple[str, str], np.ndarray]  # (role, name) -> value; the roles are "x", "y" and "weights"


@dataclass(frozen=True)
class Collected:
    """The rows of an iterable.

    Attributes:
        inputs: the columns to learn from; if the elements are mappings, all columns.
        targets: by name, (N,); empty if the elements are mappings.
        weights: (N,) float64, or None.
    """

    inputs: dict[str, pa.ChunkedArray | np.ndarray]
    targets: dict[str, pa.ChunkedArray | np.ndarray]
    weights: np.ndarray | None


def collect(source: Source) -> Collected:
    """Returns the rows of an iterable.

    Raises:
        DataError: an element is no row or batch, or isn't like the ones before.
        ResourceError: the rows don't fit into the memory.
    """
    columns: dict[tuple[str, str], _Column] = {}
    limit, size, num_elements = host_memory.data_bytes(), 0.0, 0
    for first, num_elements, block in _blocks(source):
        if columns and block.keys() != columns.keys():
            raise DataError(
                f"{first}: must have the parts of the elements before, {_listed(columns)}. Received: {_listed(block)}"
            )
        for key, values in block.items():
            columns.setdefault(key, _Column(key[1] or key[0])).add(values, where=first)
        size += sum(values.nbytes for values in block.values())
        expected = size * (source.length or num_elements) / num_elements
        if max(size, expected) > limit:
            raise ResourceError(
                f"{source.label} is read into memory: about {max(size, expected) / 2**30:,.1f} GiB are needed, and "
                f"{limit / 2**30:,.1f} GiB are free for data. Parquet or TFRecord files may be larger than the memory"
            )
    if not columns:
        raise DataError(f"there are no rows. Received: {source.label} without any element")
    if source.length not in (None, num_elements):
        raise DataError(f"its length is {source.length}, and it has {num_elements} elements")
    weights = columns.pop(("weights", ""), None)
    return Collected(
        {name: column.finish() for (role, name), column in columns.items() if role == "x"},
        {name: column.finish() for (role, name), column in columns.items() if role == "y"},
        None if weights is None else _numbers(weights.finish()),
    )


def _blocks(source: Source) -> Iterator[tuple[str, int, Parts]]:
    """Yields the place of a block's first element, the number of elements so far, and the block of each part, (B, ...).

    Elements beyond the source's length aren't read, except one, so that they are noticed.
    """
    stop = None if source.length is None else source.length + 1
    are_batches, rows, start = source.are_batches, [], 0
    for index, element in enumerate(itertools.islice(source.elements(), stop)):
        where = f"element {index}"
        parts = _parts(element, where=where)
        if are_batches is None:  # a row has a part that is one value, its target at least
            are_batches = all(value.ndim for value in parts.values())
        if are_batches:
            yield where, index + 1, _checked_batch(parts, where=where)
            continue
        rows.append(parts)
        # the first row by itself, so that rows that will never fit are noticed at once
        if index == 0 or len(rows) == ROWS_AT_ONCE:
            yield f"element {start}", index + 1, _stacked(rows, start=start)
            rows, start = [], index + 1
    if rows:
        yield f"element {start}", start + len(rows), _stacked(rows, start=start)


def _parts(element: Any, *, where: str) -> Parts:
    """Returns the parts of an element as arrays. Raises DataError if it isn't one of those that are known."""
    if isinstance(element, Mapping):
        named = {("x", str(name)): value for name, value in element.items()}
    elif isinstance(element, tuple | list) and len(element) in (2, 3):
        named = {**_named("x", element[0], where=where), **_named("y", element[1], where=where)}
        if len(element) == 3 and element[2] is not None:
            named["weights", ""] = element[2]
    else:
        raise DataError(f"{where}: must be {ELEMENTS}. Received: {_described(element)}")
    return {key: _to_array(value, f"{where}, {key[1] or key[0]!r}") for key, value in named.items()}


def _named(role: str, value: Any, *, where: str) -> dict[tuple[str, str], Any]:
    """Returns x or y by the names of its columns; "" if it is a single array."""
    if isinstance(value, Mapping):
        return {(role, str(name)): part for name, part in value.items()}
    if isinstance(value, tuple):
        raise DataError(f"{where}: {role} must be an array or a mapping of columns. Received: a tuple")
    return {(role, ""): value}


def _to_array(value: Any, where: str) -> np.ndarray:
    """Returns a value as an array; one text or None is of no dimension. Raises DataError."""
    if value is None or isinstance(value, str | bytes):
        array = np.empty((), object)
        array[()] = value
        return array
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"{where}: can't be an array: its lists have different lengths, or {error}") from error
    if array.dtype.kind not in "biufMUSO":
        raise DataError(f"{where}: must be numbers or texts. Received: {array.dtype}")
    return array


def _checked_batch(parts: Parts, *, where: str) -> Parts:
    """Returns a batch. Raises DataError if its parts have different numbers of rows."""
    lengths = {key: value.shape[0] if value.ndim else None for key, value in parts.items()}
    if len(set(lengths.values())) > 1 or None in lengths.values():
        shapes = ", ".join(f"{_name(key)} {value.shape}" for key, value in parts.items())
        raise DataError(
            f"{where}: the parts of a batch must have the same number of rows. Received: {shapes}. "
            "(The target of a single row is one number or text, no array)"
        )
    # targets and weights may be (B, 1), as Keras' models give them
    return {
        key: value.reshape(-1) if key[0] != "x" and value.shape[1:] == (1,) else value for key, value in parts.items()
    }


def _stacked(rows: Sequence[Parts], *, start: int) -> Parts:
    """Returns rows as a batch. Raises DataError if they haven't the same parts and shapes."""
    first = rows[0]
    for place, row in enumerate(rows):
        if row.keys() != first.keys():
            raise DataError(
                f"element {start + place}: must have the parts of the elements before, {_listed(first)}. "
                f"Received: {_listed(row)}"
            )
        for key, value in row.items():
            if value.shape != first[key].shape:
                raise DataError(
                    f"element {start + place}: {_name(key)} must have the shape of those before, "
                    f"{first[key].shape}. Received: {value.shape}"
                )
    return {key: _joined([row[key] for row in rows]) for key in first}


def _joined(values: Sequence[np.ndarray]) -> np.ndarray:
    """Returns values of one shape as an array (B, ...); texts of different lengths as objects."""
    if values[0].ndim or all(value.dtype.kind in "biufM" for value in values):
        return np.stack(values)
    cells = np.empty(len(values), object)
    cells[:] = [value[()] for value in values]
    return cells


@dataclass
class _Column:
    """Collects the blocks of a column: cells, (B,), go to Arrow, which has missing ones; arrays stay NumPy's."""

    name: str
    _cells: list[pa.Array] = field(default_factory=list)
    _sink: MemorySink | None = None
    _first: np.ndarray | None = None

    def add(self, values: np.ndarray, *, where: str) -> None:
        """Adds a block, (B, ...). Raises DataError if it isn't like the ones before."""
        first = values if self._first is None else self._first
        self._first = first[:0]
        if values.shape[1:] != first.shape[1:]:
            raise DataError(
                f"{where}: {self.name!r} must have rows of the shape {first.shape[1:]}, as before. "
                f"Received: {values.shape[1:]}"
            )
        if values.ndim == 1:
            self._cells.append(_to_arrow(values, name=self.name, where=where))
            return
        if values.dtype.kind not in "biuf":
            raise DataError(f"{where}: {self.name!r}: arrays must be of numbers. Received: {values.dtype}")
        if not np.can_cast(values.dtype, first.dtype, "same_kind"):
            raise DataError(f"{where}: {self.name!r} must be {first.dtype}, as before. Received: {values.dtype}")
        dtype = np.dtype("uint8") if first.dtype.kind == "b" else first.dtype.newbyteorder("=")
        self._sink = self._sink or MemorySink(dtype)
        self._sink.append(values.astype(dtype))

    def finish(self) -> pa.ChunkedArray | np.ndarray:
        """Returns the column."""
        if self._sink is not None:
            return self._sink.finish()
        try:
            joined = pa.concat_tables([pa.table({"": cells}) for cells in self._cells], promote_options="permissive")
        except pa.ArrowException as error:
            raise DataError(f"{self.name!r}: must be of one type in all rows: {_one_line(error)}") from error
        return joined.column(0)


def _to_arrow(values: np.ndarray, *, name: str, where: str) -> pa.Array:
    """Returns cells, (B,), as Arrow's. Raises DataError if they are of different types, or bytes that are no text."""
    try:
        if values.dtype.kind in "biufM":
            is_long = values.dtype.kind == "f" and values.dtype.itemsize > 8
            return pa.array(values.astype("float64" if is_long else values.dtype.newbyteorder("="), copy=False))
        cells = [cell.decode() if isinstance(cell, bytes) else cell for cell in values.tolist()]
        return pa.array(cells, from_pandas=True)
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: {name!r} must be text in UTF-8. Received: bytes {error.object[:20]!r}") from error
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"{where}: {name!r}: not numbers or texts: {_one_line(error)}") from error


def _numbers(weights: pa.ChunkedArray | np.ndarray) -> np.ndarray:
    """Returns weights as numbers, (N,) float64. Raises DataError if they aren't."""
    try:
        return np.asarray(weights.to_numpy() if isinstance(weights, pa.ChunkedArray) else weights, "float64").reshape(
            len(weights)
        )
    except (ValueError, TypeError) as error:
        raise DataError(f"weights must be one number for each row: {_one_line(error)}") from error


def _listed(parts: Mapping[tuple[str, str], Any]) -> str:
    return ", ".join(_name(key) for key in parts)


def _name(key: tuple[str, str]) -> str:
    return key[1] or key[0]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _described(element: Any) -> str:
    size = f" of {len(element)}" if isinstance(element, tuple | list) else ""
    return f"{type(element).__name__}{size}"
