"""Arrays in memory and on disk, and reading rows of them without a second copy.

Everything read here is aligned to 64 bytes: then TensorFlow uses the memory as it is instead of copying it.
"""

from __future__ import annotations

import copy
import ctypes
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from tfrun.errors import DataError

ALIGNMENT = 64  # bytes; TensorFlow copies memory that is less aligned
BLOCK_BYTES = 2**20  # to read or convert at once: they fit into the processor's cache
TAKE_BYTES = 2**24  # to take from a stored array at once: the more rows are taken, the closer together they lie
CALL_BYTES = 10_000  # are read in the time that one system call costs


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Returns an uninitialized array whose first element is at a multiple of 64 bytes."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    return np.ndarray(shape, dtype, memory, offset=-memory.ctypes.data % ALIGNMENT)


class StoredArray:
    """An array that stays on disk: its rows are read when they are indexed.

    The file is not memory-mapped, since mapped pages count as the process' memory. Reads don't use the file's position,
    so threads and forked processes may share the array.

    Args:
        path: a file, which is kept open.
        offset: the byte of the file at which the array, in C order, starts.
        shape: (N, ...).
        dtype: numbers in the machine's own byte order.

    Attributes:
        offset: as above.

    Raises:
        DataError: the file is too short; reading rows raises it too, if the file has become so since.
    """

    is_kept = False  # whether it lies in a store of `store.py`, whose files nobody changes
    is_encoded = False  # whether the device takes its numbers as they are; those of other arrays become floats
    _whole: StoredArray | None = None  # the array that this one selects rows of, if any
    _rows: np.ndarray | None = None  # the numbers of those rows

    def __init__(self, path: str, offset: int, *, shape: tuple[int, ...], dtype: Any):
        self.path, self.shape, self.dtype = path, tuple(shape), np.dtype(dtype)
        self.offset = offset
        self._row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 closed when the array is collected
        if os.fstat(self._file.fileno()).st_size < offset + self.nbytes:
            self._raise_truncated()

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """The size on disk."""
        return len(self) * self._row_bytes

    @property
    def file(self) -> int:
        """The descriptor of the file."""
        return self._file.fileno()

    @property
    def selected(self) -> tuple[StoredArray, np.ndarray] | None:
        """The array that this one selects rows of, and their numbers in it; None if it is a whole one."""
        return None if self._whole is None or self._rows is None else (self._whole, self._rows)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns the rows of a slice without a step, or the rows with the given numbers."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step != 1:
                raise IndexError(f"a slice without a step is needed. Received: {rows}")
            return self.read(start, stop)
        return self.take(rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return load(self, dtype or self.dtype)

    def select(self, rows: np.ndarray) -> StoredArray:
        """Returns the array of the rows with the given numbers, (R,), which stays on disk too."""
        selected = copy.copy(self)
        selected.shape = (len(rows), *self.shape[1:])
        selected._rows = rows if self._rows is None else self._rows[rows]
        selected._whole = self if self._whole is None else self._whole
        return selected

    def read(self, start: int, stop: int) -> np.ndarray:
        """Returns rows start to stop - 1, aligned."""
        if self._whole is not None and self._rows is not None:
            return self._whole.take(self._rows[start:stop])
        rows = aligned_empty((max(0, stop - start), *self.shape[1:]), self.dtype)
        self._read(_bytes(rows), start)
        return rows

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Returns the rows with the given numbers, (R,) integers from 0 to N - 1, in the order of `rows`, aligned.

        Where many of them lie close together, the rows in between are read too: that is faster than a call for each.
        """
        rows = np.asarray(rows)
        if self._whole is not None and self._rows is not None:
            return self._whole.take(self._rows[rows])
        taken = aligned_empty((len(rows), *self.shape[1:]), self.dtype)
        if taken.nbytes == 0:
            return taken
        order = np.argsort(rows, kind="stable")
        ordered = rows[order].astype(np.int64)
        if ordered[0] < 0 or ordered[-1] >= len(self):
            raise IndexError(f"rows from 0 to {len(self) - 1} are needed. Received: {ordered[0]} to {ordered[-1]}")
        # cut the file into stretches; those that are dense in wanted rows are read whole, other rows one by one
        stretch = ordered // max(1, BLOCK_BYTES // self._row_bytes)
        begins = np.flatnonzero(np.diff(stretch, prepend=-1))
        counts = np.diff(begins, append=len(ordered))
        lengths = ordered[begins + counts - 1] - ordered[begins] + 1
        dense = (counts > 1) & (counts * CALL_BYTES >= lengths * self._row_bytes)
        for begin, count in zip(begins[dense].tolist(), counts[dense].tolist(), strict=True):
            wanted = ordered[begin : begin + count]
            taken[order[begin : begin + count]] = self.read(wanted[0], wanted[-1] + 1)[wanted - wanted[0]]
        alone = np.repeat(~dense, counts)
        self._read_each(_bytes(taken), order[alone].tolist(), rows=ordered[alone].tolist())
        return taken

    def take_windows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Returns windows of rows that follow each other, (R, length, ...), aligned.

        Args:
            starts: the first row of each window, (R,) integers from 0 to N - length, in any order.
            length: the number of rows of a window.
        """
        if self.selected is not None:
            return self._take_rows_of(starts, length)
        taken = aligned_empty((len(starts), length, *self.shape[1:]), self.dtype)
        if taken.nbytes == 0:
            return taken
        order = np.argsort(starts, kind="stable")
        ordered = starts[order].astype(np.int64)
        # as in `take`: windows that lie close together, or over each other, are read at once
        stretch = ordered // max(1, BLOCK_BYTES // self._row_bytes)
        begins = np.flatnonzero(np.diff(stretch, prepend=-1))
        counts = np.diff(begins, append=len(ordered))
        lengths = ordered[begins + counts - 1] - ordered[begins] + length
        dense = counts * (CALL_BYTES + length * self._row_bytes) >= lengths * self._row_bytes
        for begin, count in zip(begins[dense].tolist(), counts[dense].tolist(), strict=True):
            wanted = ordered[begin : begin + count]
            rows = self.read(wanted[0], wanted[-1] + length)
            taken[order[begin : begin + count]] = windows_of(rows, length)[wanted - wanted[0]]
        alone = np.repeat(~dense, counts)
        self._read_each(_bytes(taken), order[alone].tolist(), rows=ordered[alone].tolist(), num_rows=length)
        return taken

    def _take_rows_of(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Returns the same, row by row, of rows that don't lie one after the other in one file."""
        rows = (starts[:, None] + np.arange(length)).reshape(-1)
        return self.take(rows).reshape(len(starts), length, *self.shape[1:])

    def _read_each(self, taken: memoryview, places: list[int], *, rows: list[int], num_rows: int = 1) -> None:
        """Reads `num_rows` from each row on into its place in `taken`, those in the page cache first."""
        file, size, cold = self._file.fileno(), num_rows * self._row_bytes, []
        for place, row in zip(places, rows, strict=True):
            view, position = taken[place * size : (place + 1) * size], self.offset + row * self._row_bytes
            try:
                is_read = os.preadv(file, [view], position, os.RWF_NOWAIT) == size
            except OSError:  # the read would block, or the file system doesn't support the flag
                is_read = False
            if not is_read:
                os.posix_fadvise(file, position, size, os.POSIX_FADV_WILLNEED)  # the disk works on many at once
                cold.append((view, row))
        for view, row in cold:
            self._read(view, row)

    def _read(self, place: memoryview, row: int) -> None:
        """Fills `place` with the bytes from the given row on."""
        position = self.offset + row * self._row_bytes
        while len(place):
            count = os.preadv(self._file.fileno(), [place], position)
            if count == len(place):
                return
            if count == 0:
                self._raise_truncated()
            place, position = place[count:], position + count

    def _raise_truncated(self) -> None:
        raise DataError(f"{self.path}: the file ends within the array {self.shape} of {self.dtype}: it isn't whole")


class JoinedArray(StoredArray):
    """Arrays one after the other, at least one of them on disk.

    Args:
        parts: (N, ...) each; their rows have one shape.

    Attributes:
        parts: as above.
    """

    def __init__(self, parts: Sequence[np.ndarray | StoredArray]):
        self.parts = list(parts)
        self._starts = np.cumsum([0, *map(len, parts)])
        self.path = next(part.path for part in parts if isinstance(part, StoredArray))
        self.shape = (int(self._starts[-1]), *parts[0].shape[1:])
        self.dtype = np.result_type(*(part.dtype for part in parts))
        self._row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize

    def read(self, start: int, stop: int) -> np.ndarray:
        """Returns rows start to stop - 1, aligned."""
        return self.take(np.arange(start, stop))

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Returns the rows with the given numbers, as `StoredArray.take`."""
        rows = np.asarray(rows)
        if self._whole is not None and self._rows is not None:
            return self._whole.take(self._rows[rows])
        taken = aligned_empty((len(rows), *self.shape[1:]), self.dtype)
        part_of = np.searchsorted(self._starts, rows, side="right") - 1
        for number, part in enumerate(self.parts):
            places = np.flatnonzero(part_of == number)
            if len(places):
                taken[places] = part[rows[places] - self._starts[number]]
        return taken

    def take_windows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Returns windows of rows that follow each other, as `StoredArray.take_windows`."""
        return self._take_rows_of(starts, length)


def windows_of(rows: np.ndarray, length: int) -> np.ndarray:
    """Returns a view of all windows of rows that follow each other, (N - length + 1, length, ...), of rows (N, ...)."""
    return np.moveaxis(np.lib.stride_tricks.sliding_window_view(rows, length, axis=0), -1, 1)


def take(array: np.ndarray | StoredArray, rows: np.ndarray, *, dtype: Any) -> np.ndarray:
    """Returns rows of an array, (R, ...) of the given dtype, aligned.

    Args:
        array: (N, ...) numbers.
        rows: (R,) integers from 0 to N - 1.
        dtype: the type to convert the rows to.
    """
    if isinstance(array, StoredArray) and array.dtype == dtype:
        return array.take(rows)
    taken = aligned_empty((len(rows), *array.shape[1:]), dtype)
    if isinstance(array, np.ndarray) and array.dtype == dtype:
        # only with mode="clip" NumPy writes into `out` without a buffer; no row number needs clipping
        return np.take(array, rows, axis=0, out=taken, mode="clip")
    for part in blocks(taken, BLOCK_BYTES if isinstance(array, np.ndarray) else TAKE_BYTES):
        taken[part] = array[rows[part]]
    return taken


def select(array: Any, rows: np.ndarray) -> Any:
    """Returns the rows of an array, or of texts on disk, with the given numbers; those on disk stay there."""
    return array[rows] if isinstance(array, np.ndarray) else array.select(rows)


def join(arrays: Sequence[np.ndarray | StoredArray]) -> np.ndarray | StoredArray:
    """Returns the rows of several arrays of one shape, one after the other; rows that lie on disk stay there."""
    if any(isinstance(array, StoredArray) for array in arrays):
        return JoinedArray(arrays)
    return np.concatenate([np.asarray(array) for array in arrays])


def load(array: np.ndarray | StoredArray, dtype: Any) -> np.ndarray:
    """Returns a whole array in memory, of the given dtype and aligned; itself if it is all that already."""
    if isinstance(array, StoredArray) and array.dtype == dtype:
        return array.read(0, len(array))
    if isinstance(array, np.ndarray) and array.dtype == dtype and _is_aligned(array):
        return array
    loaded = aligned_empty(array.shape, dtype)
    for part in blocks(loaded):
        loaded[part] = array[part]
    return loaded


class Rows(Protocol):
    """What has rows of a size: an array, in memory or on disk, or texts on disk."""

    def __len__(self) -> int: ...

    @property
    def nbytes(self) -> int: ...


def blocks(array: Rows, block_bytes: int = BLOCK_BYTES) -> Iterator[slice]:
    """Yields slices that cover an array's rows in order, of about `block_bytes` each."""
    at_once = max(1, block_bytes // max(1, array.nbytes // max(1, len(array))))
    for start in range(0, len(array), at_once):
        yield slice(start, min(start + at_once, len(array)))


def give_back() -> None:
    """Returns freed memory to the system. C's allocator keeps blocks under 32 MiB, such as many columns are."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only GNU's C library has it
    if trim is not None:
        trim(0)


def _is_aligned(array: np.ndarray) -> bool:
    return array.flags.c_contiguous and array.flags.writeable and array.ctypes.data % ALIGNMENT == 0


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
