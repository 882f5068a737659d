"""Where the blocks of a column go while it is read or encoded: into memory, or into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tfrun.data.arrays import StoredArray, aligned_empty
from tfrun.files import disk
from tfrun.files.failpoints import reach

HEADER_BYTES = 256  # of a file, so that its first row is aligned


class Sink(Protocol):
    """Takes a column block by block. All blocks have one dtype and one shape of rows."""

    def append(self, block: np.ndarray) -> None:
        """Adds rows, (B, ...)."""

    def finish(self) -> np.ndarray | StoredArray:
        """Returns all rows, (N, ...); called once, after the last block."""

    def discard(self) -> None:
        """Removes the rows, instead of `finish`: the column turned out to be of another kind."""


class MemorySink:
    """Keeps the blocks in memory, and joins them.

    Args:
        dtype: of a column without any row.
        num_rows: about how many rows there will be, if that is known: then the blocks are copied at once, so that they
            aren't in memory beside the column.
    """

    def __init__(self, dtype: Any, num_rows: int = 0):
        self._dtype = np.dtype(dtype)
        self._planned_rows = num_rows
        self._column: PlannedSink | None = None
        self._blocks: list[np.ndarray] = []  # behind those rows

    def append(self, block: np.ndarray) -> None:
        if self._column is None and self._planned_rows and not self._blocks:
            self._column = PlannedSink((self._planned_rows, *block.shape[1:]), block.dtype)
        if self._column is not None and not self._blocks and len(block) <= self._column.room:
            self._column.append(block)
        else:
            self._blocks.append(block)

    def finish(self) -> np.ndarray:
        if not self._blocks:
            return np.empty(0, self._dtype) if self._column is None else self._column.finish()
        blocks = [*([self._column.finish()] if self._column else []), *self._blocks]
        joined = PlannedSink((sum(map(len, blocks)), *blocks[0].shape[1:]), blocks[0].dtype)
        for block in blocks:
            joined.append(block)
        self.discard()
        return joined.finish()

    def discard(self) -> None:
        self._blocks.clear()
        self._column = None


class PlannedSink:
    """Copies the blocks into one array, whose shape is known before.

    Args:
        shape: (N, ...); if there are fewer rows, the part of the array that is never written to takes up no memory.
        dtype: of the array.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any):
        self._array = aligned_empty(shape, dtype)
        self._end = 0

    def append(self, block: np.ndarray) -> None:
        self._array[self._end : self._end + len(block)] = block
        self._end += len(block)

    @property
    def room(self) -> int:
        """How many more rows it can take."""
        return len(self._array) - self._end

    def finish(self) -> np.ndarray:
        return self._array[: self._end]

    def discard(self) -> None:
        self._array = self._array[:0].copy()


class FileSink:
    """Appends the blocks to an .npy file.

    Args:
        path: the file, a new one.
        dtype: of a column without any row.
        row_shape: likewise.
        buffer_bytes: what is written at once.
    """

    def __init__(self, path: Path, dtype: Any, *, row_shape: tuple[int, ...] = (), buffer_bytes: int = 2**20):
        self._path = path
        self._dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self._num_rows = 0
        self._file = open(path, "xb", buffering=buffer_bytes)  # noqa: SIM115 closed by `finish`
        self._file.write(bytes(HEADER_BYTES))

    def append(self, block: np.ndarray) -> None:
        """Adds rows. Raises OSError if the disk refuses."""
        if self._num_rows == 0:
            self._dtype, self._row_shape = block.dtype, block.shape[1:]
        if len(block):
            reach("store.write", is_operation=True)
            self._file.write(np.ascontiguousarray(block).data)
        self._num_rows += len(block)

    def finish(self) -> StoredArray:
        """Returns the rows in the file, once they are on the disk. Raises OSError if the disk refuses."""
        shape = (self._num_rows, *self._row_shape)
        described = f"{{'descr': {self._dtype.str!r}, 'fortran_order': False, 'shape': {shape}, }}"
        header = np.lib.format.magic(1, 0) + (HEADER_BYTES - 10).to_bytes(2, "little")
        with self._file as file:
            file.seek(0)
            file.write(header + described.ljust(HEADER_BYTES - 11).encode() + b"\n")
            disk.sync(file, "store")
        return StoredArray(str(self._path), HEADER_BYTES, shape=shape, dtype=self._dtype)

    def discard(self) -> None:
        self._file.close()
        self._path.unlink()
