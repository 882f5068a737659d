"""Reads the columns of a file into memory, or, if they are too large for it, into a store on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from tfrun import host_memory
from tfrun.components.datasets.texts import TextColumn
from tfrun.data.arrays import StoredArray, give_back
from tfrun.data.bags import Bags
from tfrun.data.integer_texts import IntegerTexts
from tfrun.data.sinks import Sink
from tfrun.data.store import Columns, StoredColumn, Stores, StoreWriter
from tfrun.data.stored_texts import StoredTexts
from tfrun.errors import ResourceError

MakeSink = Callable[[Any], Sink]  # of the type of a column without rows
Read = Callable[[MakeSink], tuple[int, dict[str, Any]]]


@dataclass(frozen=True)
class Source:
    """Columns that are to be read.

    Attributes:
        path: where they come from, for messages.
        key: everything that they follow from, plain values.
        num_columns: how many there are.
        num_bytes: about how much room they need in a store.
        memory_bytes: about half of what they need in memory, in which raw and encoded columns are together.
    """

    path: str
    key: Mapping[str, Any]
    num_columns: int
    num_bytes: float
    memory_bytes: float

    def refuse_too_large(self) -> None:
        """Raises ResourceError if the columns are larger than the memory."""
        total_bytes = host_memory.total_bytes()
        if self.memory_bytes > total_bytes:
            raise ResourceError(
                f"data.path: {self.path} needs about {self.memory_bytes / 2**30:,.1f} GiB, and the memory has "
                f"{total_bytes / 2**30:,.1f} GiB. data.cache=auto keeps the data on disk"
            )


def read_columns(
    source: Source, stores: Stores | None, *, read: Read, in_memory: MakeSink
) -> tuple[int, dict[str, Any]]:
    """Returns the number of rows, and the columns by name, from memory or from a store, which is written first.

    Args:
        source: what is read.
        stores: where the columns go if they are large, or None.
        read: reads them into the sinks that it is given.
        in_memory: makes the sinks of columns that stay in memory.

    Raises:
        ResourceError: the columns fit neither into memory nor onto the disk.
        DataError: a cell can't be used.
    """
    if stores is not None and stores.are_for(source.memory_bytes):
        return _read_stored(source, stores, read=read)
    source.refuse_too_large()
    num_rows, columns = read(in_memory)
    pa.default_memory_pool().release_unused()
    give_back()  # before TensorFlow needs memory too
    return num_rows, columns


def _read_stored(source: Source, stores: Stores, *, read: Read) -> tuple[int, dict[str, Any]]:
    def write(writer: StoreWriter) -> Columns:
        _, columns = read(writer.sink)
        pa.default_memory_pool().release_unused()
        return {name: _stored(column) for name, column in columns.items()}

    columns = stores.open(
        {**source.key, "pyarrow": pa.__version__},
        title=f"{source.path}: converting",
        num_bytes=source.num_bytes,
        num_columns=source.num_columns,
        write=write,
    )
    num_rows = max((len(column.array) for column in columns.values()), default=0)
    return num_rows, {name: _opened(column) for name, column in columns.items()}


def _opened(column: StoredColumn) -> Any:
    """Returns a column of a store as it was read."""
    if column.flat is not None:
        flat = column.flat
        texts = IntegerTexts(flat.array) if flat.texts is None else StoredTexts(flat.array, flat.texts)
        return Bags(column.array, texts)
    if column.texts is not None:
        return TextColumn.of(column.array, column.texts)
    is_integer = column.array.ndim == 1 and column.array.dtype.kind in "iu"  # other numbers are floats
    return IntegerTexts(column.array) if is_integer else column.array


def _stored(column: Any) -> StoredColumn:
    """Returns a column as it is written to a store."""
    if isinstance(column, TextColumn):
        return StoredColumn(cast(StoredArray, column.finish()), column.values)
    if isinstance(column, IntegerTexts):
        return StoredColumn(cast(StoredArray, column.numbers))
    if isinstance(column, StoredTexts):
        return StoredColumn(cast(StoredArray, column.codes), column.values)
    if isinstance(column, Bags):
        return StoredColumn(cast(StoredArray, column.bounds), flat=_stored(column.flat))
    return StoredColumn(cast(StoredArray, column))
