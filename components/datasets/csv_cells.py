"""Collects the cells of a column of a CSV file, whose kind follows from them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfrun.components.datasets.csv_numbers import NumberFormat
from tfrun.components.datasets.stored_columns import MakeSink
from tfrun.components.datasets.texts import TextColumn
from tfrun.data.arrays import StoredArray
from tfrun.data.integer_texts import IntegerTexts, empty_of
from tfrun.data.sinks import Sink

EMPTY = empty_of(np.int64)


class Cells:
    """Collects the cells of a column, which is one of numbers until a cell isn't one.

    Args:
        numbers: how numbers are written.
        make_sink: returns where the column goes; gets its type.
        is_text: whether it is one of texts whatever its cells look like.

    Attributes:
        first_infinite: the first row of an infinite number, if any.
    """

    def __init__(self, numbers: NumberFormat, make_sink: MakeSink, *, is_text: bool):
        self._numbers = numbers
        self._make_sink = make_sink
        self._texts = TextColumn(make_sink(np.int32)) if is_text else None
        self._sink = None if is_text else make_sink(np.float64)
        self._num_rows = 0
        self.first_infinite: int | None = None

    def add(self, cells: pa.StringArray) -> None:
        """Appends the cells of a block, trimmed."""
        if self._texts is not None:
            self._texts.add(cells)
        elif self._sink is not None:
            self._add_numbers(cells, self._sink)
        self._num_rows += len(cells)

    def _add_numbers(self, cells: pa.StringArray, sink: Sink) -> None:
        values = self._numbers.read(cells)
        if values is not None:
            sink.append(values)
            if self.first_infinite is None and np.isinf(values).any():
                self.first_infinite = self._num_rows + int(np.argmax(np.isinf(values)))
            return
        sink.discard()
        self._sink, self.first_infinite = None, None
        if self._num_rows == 0:
            self._texts = TextColumn(self._make_sink(np.int32))
            self._texts.add(cells)

    def finish(self) -> np.ndarray | StoredArray | TextColumn | None:
        """Returns the column; None for one that begins with numbers and turned out to be text."""
        return self._texts if self._sink is None else self._sink.finish()


class IntegerCells:
    """Collects the cells of a column of ids, which are whole numbers until a cell isn't spelt as one.

    Args:
        make_sink: returns where the column goes; gets its type.
    """

    first_infinite = None

    def __init__(self, make_sink: MakeSink):
        self._make_sink = make_sink
        self._sink: Sink | None = make_sink(np.int64)
        self._texts: TextColumn | None = None
        self._has_rows = False

    def add(self, cells: pa.StringArray) -> None:
        """Appends the cells of a block, trimmed."""
        if self._texts is not None:
            self._texts.add(cells)
        elif self._sink is not None:
            numbers = _integers(cells)
            if numbers is not None:
                self._sink.append(numbers)
            else:
                self._sink.discard()
                self._sink = None
                if not self._has_rows:
                    self._texts = TextColumn(self._make_sink(np.int32))
                    self._texts.add(cells)
        self._has_rows = True

    def finish(self) -> IntegerTexts | TextColumn | None:
        """Returns the column; None for one that begins with whole numbers and has other texts too."""
        return self._texts if self._sink is None else IntegerTexts(self._sink.finish())


def _integers(cells: pa.StringArray) -> np.ndarray | None:
    """Returns cells as int64, or None unless each is empty, or spelt as a whole number is: 7, not 007."""
    is_empty = pc.equal(cells, "")
    try:
        numbers = pc.cast(pc.if_else(is_empty, "0", cells), pa.int64())
    except pa.ArrowInvalid:
        return None
    if not pc.all(pc.or_(is_empty, pc.equal(pc.cast(numbers, pa.string()), cells))).as_py():
        return None
    values = numbers.to_numpy()
    if (values == EMPTY).any():
        return None
    return np.where(is_empty.to_numpy(zero_copy_only=False), EMPTY, values)
