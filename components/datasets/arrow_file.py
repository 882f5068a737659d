"""Reads columns of Arrow's types, with errors that name the row and the column."""

from __future__ import annotations

import json
import logging
import re
from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from tfrun.components.datasets.arrow_ids import BagBuilder, Builder, IntegerBuilder
from tfrun.components.datasets.arrow_types import (
    Kind,
    UnusableError,
    decoded,
    is_list,
    to_arrays,
    to_numbers,
    to_texts,
)
from tfrun.components.datasets.checks import missing_spellings
from tfrun.components.datasets.columns import ColumnFile, ColumnOptions
from tfrun.components.datasets.csv_numbers import NumberFormat
from tfrun.components.datasets.stored_columns import MakeSink, Source, read_columns
from tfrun.components.datasets.texts import TextColumn
from tfrun.data.arrays import blocks
from tfrun.data.bags import Bags
from tfrun.data.integer_texts import IntegerSink
from tfrun.data.sinks import MemorySink, Sink
from tfrun.errors import DataError, as_typed

PANDAS_INDEX = re.compile(r"__index_level_\d+__")

log = logging.getLogger(__name__)


class ArrowFile(ColumnFile):
    """A source of Arrow's batches of rows. Its columns have types, so that no text is read as a number.

    Args:
        path: where the rows come from, for messages.
        schema: the columns and their types.
        options: the config's.
    """

    def __init__(self, path: str, schema: pa.Schema, options: ColumnOptions):
        self.path = path
        self.header = schema.names
        self.number_format = NumberFormat(".", missing_spellings(options.missing))
        self.schema = schema
        self._missing_numbers = _numbers_in(options.missing or [])
        self._stores = options.stores
        self._integers, self._bags = options.integers, options.bags
        # numbers whose values decide the task; they are read as such for a trained run too, from the same store
        self._guessed_targets = set(options.targets if options.task == "auto" else ())

    def leave_out_index(self, options: ColumnOptions) -> None:
        """Removes an index of pandas from the header, with a warning, unless the config names it."""
        unasked = [name for name in self.header if PANDAS_INDEX.fullmatch(name) and name not in options.named]
        if unasked and options.columns is None:
            log.warning("%s: %s is an index of pandas and is left out", self.path, ", ".join(unasked))
            self.header = [name for name in self.header if name not in unasked]

    @abstractmethod
    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields the rows of the columns, block by block; `check_kind` has checked their types."""

    def kind(self, name: str, schema: pa.Schema | None = None) -> Kind:
        """Returns what a column becomes; of another schema if that is given. Raises DataError for one of no use."""
        schema = schema or self.schema
        try:
            type = schema.field(name).type
            if name in self._bags and is_list(type):
                return Kind.of_bag(type)
            return Kind.of(type, _labels(schema).get(name, ()))
        except UnusableError as error:
            raise self._unusable(error, name, where=self.path) from None

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Returns what its rows follow from, plain values: the versions of the files, and how they are read."""

    @abstractmethod
    def num_bytes(self, names: Sequence[str]) -> float:
        """Returns about how much memory, or room in a store, some columns need, without reading them."""

    def num_rows(self) -> int:
        """Returns how many rows there are if that is known without reading them, or 0."""
        return 0

    def memory_bytes(self, names: Sequence[str]) -> float:
        """Returns the same for memory alone; more if the encoded columns are larger than the raw ones."""
        return self.num_bytes(names)

    def read(self, names: Sequence[str], as_text: Collection[str]) -> tuple[int, dict[str, Any]]:
        numbers = {name for name in names if self.kind(name).name == "number"}
        late = numbers & set(as_text) & self._guessed_targets
        num_rows, columns = self._read_anywhere(names, numbers & set(as_text) - late)
        return num_rows, columns | {name: self.texts(name, np.asarray(columns[name])) for name in late}

    def _read_anywhere(self, names: Sequence[str], as_text: Collection[str]) -> tuple[int, dict[str, Any]]:
        """Returns the same, from memory or from a store; `as_text` are columns of numbers."""
        key = {
            **self.identity(),
            "columns": sorted(names),
            "as_text": sorted(as_text),
            "missing": self._missing_numbers.tolist(),
        }
        integers = [name for name in as_text if self._is_integer(name)]
        bags = [name for name in names if self.kind(name).is_bag]
        key |= {option: sorted(named) for option, named in (("integers", integers), ("bags", bags)) if named}
        source = Source(
            self.path,
            key,
            num_columns=len(names),
            num_bytes=self.num_bytes(names),
            memory_bytes=self.memory_bytes(names),
        )
        read = partial(self._read, names, as_text)
        return read_columns(source, self._stores, read=read, in_memory=partial(_memory_sink, num_rows=self.num_rows()))

    def check_finite(self, name: str, numbers: Any, *, first_row: int = 0) -> Any:
        return numbers  # they were checked as they were read

    def texts(self, name: str, column: np.ndarray) -> TextColumn:
        texts = TextColumn()
        for rows in blocks(column):
            texts.add(to_texts(pa.array(column[rows])))
        return texts

    def _read(self, names: Sequence[str], as_text: Collection[str], make_sink: MakeSink) -> tuple[int, dict[str, Any]]:
        """Returns the number of rows, and the columns by name; `make_sink` gets the type of a column without rows."""
        builders = {name: self._builder(name, as_text, make_sink) for name in names}
        num_rows = 0
        for batch in self.batches(names):
            for name in names:
                try:
                    builders[name].add(batch.column(name))
                except UnusableError as error:
                    row = None if error.row is None else num_rows + error.row
                    where = self.path if row is None else self.find(row)[0]
                    raise self._unusable(error, name, where=where) from None
            num_rows += len(batch)
        return num_rows, {name: builders.pop(name).finish() for name in names}

    def stored_batches(self, names: Sequence[str], kept: Sequence[str]) -> Iterator[pa.RecordBatch]:
        return self.batches(list(dict.fromkeys([*names, *kept])))

    def converted(self, name: str, cells: Sequence[pa.Array], *, as_text: bool, first_row: int) -> Any:
        builder, row = self._builder(name, [name] if as_text else (), MemorySink), first_row
        for block in cells:
            try:
                builder.add(block)
            except UnusableError as error:
                where = self.path if error.row is None else self.find(row + error.row)[0]
                raise self._unusable(error, name, where=where) from None
            row += len(block)
        return builder.finish()

    def _builder(self, name: str, as_text: Collection[str], make_sink: MakeSink) -> Builder:
        """Returns what collects the cells of a column. Raises DataError for a column that can't be used."""
        kind = self.kind(name)
        if kind.name == "array":
            if name in as_text:
                raise DataError(f"{self.path}, column {name!r}: must hold texts or numbers. Received: arrays")
            return _Arrays(make_sink(np.float32), kind.depth)
        if kind.is_bag:
            return BagBuilder(kind, make_sink)
        if name in as_text and self._is_integer(name):
            return IntegerBuilder(kind.type, make_sink)
        if kind.name == "text" or name in as_text:
            return _Texts(TextColumn(make_sink(np.int32)), kind.labels)
        return _Numbers(make_sink(np.float64), self._missing_numbers)

    def array(self, name: str, cells: Any) -> Any:
        """Returns an array (N, ...) as a column: rows of integers may be bags of ids."""
        return Bags.of_array(cells) if name in self._bags and cells.ndim == 2 and cells.dtype.kind in "iu" else cells

    def _is_integer(self, name: str) -> bool:
        """Returns whether a column that is wanted as texts has whole numbers, which stay integers."""
        kind = self.kind(name)
        return name in self._integers and kind.name == "number" and pa.types.is_integer(kind.type)

    def _unusable(self, error: UnusableError, name: str, *, where: str) -> DataError:
        remedy = ""
        if error.remedy is not None:
            advice, key = error.remedy
            remedy = f". {advice}: {as_typed(f'data.{key}', [name])}"
        return DataError(f"{where}, column {name!r}: {error}{remedy}")

    def numbers(self, name: str, text: TextColumn, *, require: bool = False, hint: str = "") -> np.ndarray | None:
        if not require:
            return None  # the file's own types say that it is text
        numbers = self.number_format.read(pa.array(text.values, pa.string()))
        if numbers is not None:
            return numbers[text.indices()]
        is_number = self.number_format.is_number(pa.array(text.values, pa.string()))
        row = int(np.argmin(is_number[text.indices()]))
        received = text.values[int(text.indices()[row])]
        raise DataError(f"{self.find(row)[0]}, column {name!r}: not a number. Received: {received!r}.{hint}")


class _Numbers(Builder):
    def __init__(self, sink: Sink, missing: np.ndarray):
        self._sink = sink
        self._missing = missing

    def add(self, cells: pa.Array) -> None:
        numbers = to_numbers(decoded(cells))
        if np.isinf(numbers).any():
            row = int(np.argmax(np.isinf(numbers)))
            raise UnusableError(f"not finite. Received: {str(numbers[row])!r}", row=row, remedy=None)
        is_missing = np.isin(numbers, self._missing) if len(self._missing) else np.zeros(0, bool)
        self._sink.append(np.where(is_missing, np.nan, numbers) if is_missing.any() else numbers)

    def finish(self) -> Any:
        return self._sink.finish()


class _Texts(Builder):
    def __init__(self, texts: TextColumn, labels: tuple[str, ...]):
        self._texts = texts
        self._labels = labels

    def add(self, cells: pa.Array) -> None:
        self._texts.add(to_texts(decoded(cells), self._labels))

    def finish(self) -> TextColumn:
        return self._texts


class _Arrays(Builder):
    def __init__(self, sink: Sink, depth: int):
        self._sink = sink
        self._depth = depth
        self._first: np.ndarray | None = None

    def add(self, cells: pa.Array) -> None:
        rows = to_arrays(decoded(cells), self._depth)
        if len(rows) == 0:
            return
        first = rows if self._first is None else self._first
        if rows.shape[1:] != first.shape[1:]:
            raise UnusableError(
                f"all lists must have one length. Received: {rows.shape[1:]}, and {first.shape[1:]} before", row=0
            )
        self._first = first[:1]
        self._sink.append(rows.astype(first.dtype, copy=False))

    def finish(self) -> Any:
        return self._sink.finish()


def _memory_sink(dtype: Any, num_rows: int) -> Sink:
    """Returns what keeps a column in memory."""
    return (IntegerSink if dtype in (np.int64, np.uint64) else MemorySink)(dtype, num_rows)


def _numbers_in(missing: Sequence[str]) -> np.ndarray:
    """Returns the spellings of data.missing that are numbers."""
    numbers = []
    for text in missing:
        try:
            numbers.append(float(text))
        except ValueError:
            continue
    return np.array(numbers)


def _labels(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Returns the names of classes that Hugging Face's datasets write for whole numbers, by column."""
    described = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(described or b"{}").get("info", {}).get("features", {})
        return {
            name: tuple(map(str, feature["names"]))
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (ValueError, AttributeError, TypeError):  # of another program
        return {}
