"""Opens files of Arrow's formats: Parquet, Arrow IPC (which Feather is too) and Arrow streams.

A file's format is told by its first bytes, whatever its name.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tfrun.components.datasets.arrow_types import Kind
from tfrun.components.datasets.checks import existing_file
from tfrun.components.datasets.formats import NUM_START, advice_for
from tfrun.components.datasets.paths import files_of
from tfrun.config.data_paths import expand
from tfrun.errors import DataError

BATCH_BYTES = 2**22  # of the rows that are read at once
MAX_BATCH_ROWS = 2**16
BUFFER_BYTES = 2**20  # of each column chunk that is read; else all of a row group would be in memory
ENDINGS = (".parquet", ".pq", ".parq", ".arrow", ".feather", ".ipc")


class ArrowShard:
    """A file of rows.

    Attributes:
        path: the file.
        schema: its columns and their types.
    """

    def __init__(self, path: str, schema: pa.Schema):
        self.path = path
        self.schema = schema

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields the rows of the columns, block by block."""
        raise NotImplementedError

    def find(self, row: int) -> tuple[str, pa.RecordBatch | None]:
        """Returns where a row is, and the row."""
        raise NotImplementedError

    def num_rows(self) -> int:
        """Returns the number of rows."""
        raise NotImplementedError

    def num_bytes(self, kinds: Mapping[str, Kind]) -> float:
        """Returns about how much memory some columns need, without reading them."""
        return os.path.getsize(self.path)


class ParquetShard(ArrowShard):
    """A Parquet file."""

    def __init__(self, path: str):
        with _readable(path):
            self._metadata = pq.read_metadata(path)
            super().__init__(path, self._metadata.schema.to_arrow_schema())
        leaves = [self._metadata.schema.column(k).path for k in range(self._metadata.num_columns)]
        self._leaf = {path.split(".")[0]: k for k, path in enumerate(leaves)} | {p: k for k, p in enumerate(leaves)}

    def _open(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.path, metadata=self._metadata, buffer_size=BUFFER_BYTES, pre_buffer=False)

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        row_bytes = sum(8 * self._num_values(name) for name in names) // max(1, self.num_rows())
        at_once = max(1, min(MAX_BATCH_ROWS, BATCH_BYTES // max(1, row_bytes)))
        with _readable(self.path), self._open() as file:
            yield from file.iter_batches(at_once, columns=list(names), use_threads=True)

    def find(self, row: int) -> tuple[str, pa.RecordBatch | None]:
        for group in range(self._metadata.num_row_groups):
            in_group = self._metadata.row_group(group).num_rows
            if row < in_group:
                where = f"{self.path}: row {row} of row group {group}"
                with _readable(self.path), self._open() as file:
                    start = 0
                    for batch in file.iter_batches(MAX_BATCH_ROWS, row_groups=[group]):
                        if row < start + len(batch):
                            return where, batch.slice(row - start, 1)
                        start += len(batch)
            row -= in_group
        return self.path, None

    def num_rows(self) -> int:
        return self._metadata.num_rows

    def num_bytes(self, kinds: Mapping[str, Kind]) -> float:
        return sum(
            self._num_values(name) * (max(1, kind.type.bit_width // 8) if kind.name == "array" else 8)
            for name, kind in kinds.items()
        )

    def _num_values(self, name: str) -> int:
        """Returns how many values a column has, those of lists included."""
        groups = map(self._metadata.row_group, range(self._metadata.num_row_groups))
        return sum(group.column(self._leaf[name]).num_values for group in groups) if name in self._leaf else 0


class IpcShard(ArrowShard):
    """An Arrow IPC file or stream. It is mapped, since its batches may be large."""

    def __init__(self, path: str, *, is_stream: bool):
        self._is_stream = is_stream
        with _readable(path), pa.memory_map(path) as file:
            schema = self._reader(file).schema
        super().__init__(path, schema)

    def _reader(self, file: Any) -> Any:
        return pa.ipc.open_stream(file) if self._is_stream else pa.ipc.open_file(file)

    def _all(self) -> Iterator[pa.RecordBatch]:
        with _readable(self.path), pa.memory_map(self.path) as file:
            reader = self._reader(file)
            if self._is_stream:
                yield from reader
            else:
                yield from map(reader.get_batch, range(reader.num_record_batches))

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for batch in self._all():
            used = batch.select(list(names))
            at_once = max(1, min(MAX_BATCH_ROWS, BATCH_BYTES * len(used) // max(1, used.nbytes)))
            for start in range(0, len(used), at_once):
                yield used.slice(start, at_once)

    def find(self, row: int) -> tuple[str, pa.RecordBatch | None]:
        for number, batch in enumerate(self._all()):
            if row < len(batch):
                return f"{self.path}: row {row} of record batch {number}", batch.slice(row, 1)
            row -= len(batch)
        return self.path, None

    def num_rows(self) -> int:
        return sum(map(len, self._all()))


def open_shards(path: str | list[str]) -> list[ArrowShard]:
    """Opens the files that data.path names.

    Raises:
        DataError: there is none, or one isn't of a known format.
        ResourceError: a file may not be read.
    """
    files = [file for name in expand(path) for file in _files_of_saved(name) or files_of(name, ENDINGS)]
    return [_open(file) for file in files]


def _open(path: str) -> ArrowShard:
    with open(path, "rb") as file:
        start = file.read(NUM_START)
    if start.startswith(b"PAR1"):
        return ParquetShard(path)
    if start.startswith(b"ARROW1"):
        return IpcShard(path, is_stream=False)
    if start.startswith(b"\xff\xff\xff\xff"):
        return IpcShard(path, is_stream=True)
    if start.startswith(b"PARE"):
        raise DataError(f"data.path: {path} is encrypted Parquet, which isn't read")
    if start.startswith(b"FEA1"):
        raise DataError(f"data.path: {path} is Feather of version 1. Write it anew: pyarrow.feather.write_feather")
    is_text = path.endswith((".csv", ".tsv", ".txt"))
    advice = " For text with a separator, use data=csv" if is_text else advice_for(path, start)
    raise DataError(
        f"data.path: {path} is neither Parquet nor Arrow IPC, by its first bytes. Received: {start!r}.{advice}"
    )


def _files_of_saved(path: str) -> list[str]:
    """Returns the files of a folder that Hugging Face's `save_to_disk` has written, in order; none for another path."""
    folder = Path(path).expanduser()
    if (folder / "dataset_dict.json").is_file():
        splits = _read_json(folder / "dataset_dict.json").get("splits", [])
        keys = {"train": "path", "validation": "validation_path", "test": "test_path"}
        words = [f"data.{key}={folder / name}" for name, key in keys.items() if name in splits]
        hint = f" For example: {' '.join(words)}" if "train" in splits else ""
        raise DataError(f"data.path: holds several data sets. Received: {path!r}. Known: {', '.join(splits)}.{hint}")
    if not (folder / "state.json").is_file():
        return []
    state = _read_json(folder / "state.json")
    names = [entry["filename"] for entry in state.get("_data_files") or [] if isinstance(entry, dict)]
    if state.get("_indices_data_files"):
        raise DataError(f"data.path: {path} holds an index beside its rows. Save it anew after flatten_indices()")
    return [existing_file(str(folder / name)) for name in names]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"data.path: {path} can't be read: {error}") from None
    return content if isinstance(content, dict) else {}


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    """Raises DataError for what Arrow raises if a file is damaged."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"data.path: {path} can't be read: {reason[:200]}") from None
