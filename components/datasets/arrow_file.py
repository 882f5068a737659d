"""Reads columns of Arrow's types, with errors that name the row and the column."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tfrun.components.datasets.arrow_types import Kind, UnusableError, to_arrays, to_numbers, to_texts
from tfrun.components.datasets.checks import missing_spellings
from tfrun.components.datasets.columns import ColumnFile, ColumnOptions
from tfrun.components.datasets.csv_numbers import NumberFormat
from tfrun.components.datasets.texts import TextColumn
from tfrun.data.arrays import give_back
from tfrun.data.sinks import MemorySink, Sink
from tfrun.errors import DataError, as_typed


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

    @abstractmethod
    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields the rows of the columns, block by block; `check_kind` has checked their types."""

    def kind(self, name: str, schema: pa.Schema | None = None) -> Kind:
        """Returns what a column becomes; of another schema if that is given. Raises DataError for one of no use."""
        schema = schema or self.schema
        try:
            return Kind.of(schema.field(name).type, _labels(schema).get(name, ()))
        except UnusableError as error:
            raise self._unusable(error, name, where=self.path) from None

    def read(self, names: Sequence[str], as_text: Collection[str]) -> tuple[int, dict[str, Any]]:
        num_rows, columns = self._read(names, as_text, MemorySink)
        pa.default_memory_pool().release_unused()
        give_back()  # before TensorFlow needs memory too
        return num_rows, columns

    def _read(
        self, names: Sequence[str], as_text: Collection[str], make_sink: Callable[[Any], Sink]
    ) -> tuple[int, dict[str, Any]]:
        """Returns the number of rows, and the columns by name; `make_sink` gets the type of a column without rows."""
        kinds = {name: self.kind(name) for name in names}
        builders: dict[str, _Builder] = {}
        for name, kind in kinds.items():
            if kind.name == "array" and name in as_text:
                raise DataError(f"{self.path}, column {name!r}: must hold texts or numbers. Received: arrays")
            if kind.name == "array":
                builders[name] = _Arrays(make_sink(np.float32), kind.depth)
            elif kind.name == "text" or name in as_text:
                builders[name] = _Texts(TextColumn(make_sink(np.int32)), kind.labels)
            else:
                builders[name] = _Numbers(make_sink(np.float64), self._missing_numbers)
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

    def _unusable(self, error: UnusableError, name: str, *, where: str) -> DataError:
        advice, key = error.remedy
        return DataError(f"{where}, column {name!r}: {error}. {advice}: {as_typed(f'data.{key}', [name])}")

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


class _Builder:
    """Collects the cells of a column."""

    def add(self, cells: pa.Array) -> None:
        """Appends the cells of a block. Raises UnusableError."""
        raise NotImplementedError

    def finish(self) -> Any:
        """Returns the column."""
        raise NotImplementedError


class _Numbers(_Builder):
    def __init__(self, sink: Sink, missing: np.ndarray):
        self._sink = sink
        self._missing = missing

    def add(self, cells: pa.Array) -> None:
        numbers = to_numbers(_decoded(cells))
        is_missing = np.isin(numbers, self._missing) if len(self._missing) else np.zeros(0, bool)
        self._sink.append(np.where(is_missing, np.nan, numbers) if is_missing.any() else numbers)

    def finish(self) -> Any:
        return self._sink.finish()


class _Texts(_Builder):
    def __init__(self, texts: TextColumn, labels: tuple[str, ...]):
        self._texts = texts
        self._labels = labels

    def add(self, cells: pa.Array) -> None:
        self._texts.add(to_texts(_decoded(cells), self._labels))

    def finish(self) -> TextColumn:
        return self._texts


class _Arrays(_Builder):
    def __init__(self, sink: Sink, depth: int):
        self._sink = sink
        self._depth = depth
        self._first: np.ndarray | None = None

    def add(self, cells: pa.Array) -> None:
        rows = to_arrays(_decoded(cells), self._depth)
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


def _decoded(cells: pa.Array) -> pa.Array:
    """Returns cells without extension types and dictionaries."""
    if isinstance(cells, pa.ExtensionArray):
        cells = cells.storage
    return cells.dictionary_decode() if pa.types.is_dictionary(cells.type) else cells


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
