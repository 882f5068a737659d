"""Collects the cells of columns of ids: whole numbers, which stay integers, and lists of ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfrun.components.datasets.arrow_types import INTEGER_BAG, Kind, UnusableError, decoded, is_list, to_texts
from tfrun.components.datasets.stored_columns import MakeSink
from tfrun.components.datasets.texts import TextColumn
from tfrun.data.bags import Bags, without_spaces
from tfrun.data.integer_texts import IntegerTexts, empty_of
from tfrun.data.stored_texts import StoredTexts


class Builder(ABC):
    """Collects the cells of a column."""

    @abstractmethod
    def add(self, cells: pa.Array) -> None:
        """Appends the cells of a block. Raises UnusableError for one that can't be kept."""

    @abstractmethod
    def finish(self) -> Any:
        """Returns the column."""


class IntegerBuilder(Builder):
    """Collects whole numbers.

    Args:
        type: their type in the first file.
        make_sink: returns where they go; gets their type.
    """

    def __init__(self, type: pa.DataType, make_sink: MakeSink):
        self._dtype = np.dtype(np.uint64 if pa.types.is_uint64(type) else np.int64)
        self._sink = make_sink(self._dtype)

    def add(self, cells: pa.Array) -> None:
        self._sink.append(to_integers(decoded(cells), self._dtype))

    def finish(self) -> IntegerTexts:
        return IntegerTexts(self._sink.finish())


class BagBuilder(Builder):
    """Collects lists of whole numbers or of texts; null is an empty one.

    Args:
        kind: of the column.
        make_sink: returns where a part of the column goes; gets its type.
    """

    def __init__(self, kind: Kind, make_sink: MakeSink):
        self._bounds = make_sink(np.int64)
        self._num_values = 0
        self._flat: IntegerBuilder | _WordBuilder = (
            IntegerBuilder(kind.type, make_sink) if kind.name == INTEGER_BAG else _WordBuilder(make_sink)
        )

    def add(self, cells: pa.Array) -> None:
        cells = cells.storage if isinstance(cells, pa.ExtensionArray) else cells
        if not is_list(cells.type):  # of a file in which none has a value
            cells = pa.nulls(len(cells), pa.list_(pa.null()))
        lengths = pc.fill_null(pc.list_value_length(cells), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        values = cells.flatten()  # without what a null list may hide
        try:
            self._flat.add(values)
        except UnusableError as error:
            row = None if error.row is None else int(np.searchsorted(np.cumsum(lengths), error.row, side="right"))
            raise UnusableError(str(error), row=row, remedy=error.remedy) from None
        ends = self._num_values + np.cumsum(lengths)
        self._bounds.append(np.stack([ends - lengths, ends], axis=1))
        self._num_values += len(values)

    def finish(self) -> Bags:
        bounds: Any = self._bounds.finish()
        return Bags(bounds if bounds.ndim == 2 else np.empty((0, 2), np.int64), self._flat.finish())


class _WordBuilder(Builder):
    """Collects texts as words, each of which stands for itself, whatever is in it."""

    def __init__(self, make_sink: MakeSink):
        self._texts = TextColumn(make_sink(np.int32))

    def add(self, cells: pa.Array) -> None:
        self._texts.add(to_texts(decoded(cells)))

    def finish(self) -> StoredTexts:
        return StoredTexts(self._texts.finish(), [without_spaces(text) for text in self._texts.values])


def to_integers(cells: pa.Array, dtype: np.dtype) -> np.ndarray:
    """Returns whole numbers, (N,), as int64 or uint64, with `empty_of` the type for null.

    Raises:
        UnusableError: a number is none of the type, or stands for an empty cell itself.
    """
    if pa.types.is_null(cells.type):
        return np.full(len(cells), empty_of(dtype))
    is_wrong = np.zeros(0, bool)
    try:
        numbers = pc.cast(cells, pa.from_numpy_dtype(dtype))
    except pa.ArrowInvalid:
        values = cells.to_pylist()
        limits = np.iinfo(dtype)
        is_wrong = np.array([x is not None and not limits.min <= x <= limits.max for x in values])
    else:
        filled = pc.fill_null(numbers, pa.scalar(0, numbers.type)).to_numpy()
        is_wrong = filled == empty_of(dtype)
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        raise UnusableError(
            f"ids must be {dtype} numbers, as in the first file, and not {empty_of(dtype)}. Received: {cells[row]}",
            row=row,
        )
    if numbers.null_count == 0:
        return filled
    return np.where(numbers.is_null().to_numpy(zero_copy_only=False), empty_of(dtype), filled)
