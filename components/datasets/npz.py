"""Defines `npz`, a data set in a NumPy archive, such as an array of images with their classes."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tfrun import host_memory, register
from tfrun.components.datasets.checks import MIN_ROWS, existing_file, missing_spellings
from tfrun.data import arrays
from tfrun.data.table import Table, TrainedColumns
from tfrun.errors import DataError, ResourceError, near_miss

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
LABEL_CHARACTERS = 1000  # the length of the longest text that may be a class


@register.dataset("npz")
def npz(
    path: str,
    x: str = "x",
    y: str = "y",
    task: Literal["auto", "regression", "classification"] = "auto",
    missing: list[str] | None = [],  # noqa: B006 (the catalog reads literal defaults; never changed)
    rows_only: bool = False,
    trained_columns: TrainedColumns | None = None,
) -> Table:
    """Reads an .npz file (`numpy.savez`) with the examples in one array and their targets in another.

    Examples that aren't compressed stay in the file and are read when they are needed.

    Args:
        path: the file, relative to the folder that the command runs in.
        x: the array of examples, (N, …) numbers.
        y: the array of targets, (N,) or (N, 1).
        task: "auto" is classification for whole numbers, true/false and text, regression for floats.
        missing: more texts in `y` that count as missing beside those of data=csv; null: only the empty one does.
        rows_only: whether to read rows without a target; set by the engine.
        trained_columns: the columns of the run that the rows are for; set by the engine. Then task doesn't matter.

    Raises:
        DataError: the file or an array in it can't be used.
        ResourceError: the file may not be read, or an array is larger than the memory.
    """
    path = existing_file(path)
    try:
        with _open(path) as archive:
            stored_x = _Stored.find(archive, path, name=x, option="x")
            num_rows = _check_examples(stored_x)
            stored_y = None if rows_only else _Stored.find(archive, path, name=y, option="y")
            if stored_y is not None:
                _check_targets(stored_y, num_rows, of=x)
            examples = stored_x.open(archive)
            targets = np.zeros(num_rows) if stored_y is None else stored_y.read(archive).reshape(num_rows)
    except (DataError, ResourceError):
        raise
    except Exception as error:  # a damaged archive can raise almost anything
        raise DataError(f"data.path: {path} can't be read as an .npz file: {error}") from None
    min_rows = 1 if rows_only or trained_columns is not None else MIN_ROWS
    if num_rows < min_rows:
        raise DataError(f"data.path: {path} has {num_rows} rows; at least {min_rows} are needed.")
    if rows_only:
        return Table({x: examples}, targets, y, "regression", path, first_line=0)
    if trained_columns is not None:
        task = "regression" if trained_columns.targets[0] is None else "classification"
    elif task == "auto":
        task = "regression" if targets.dtype.kind == "f" else "classification"
    if task == "classification":
        labels = _labels(targets, missing_spellings(missing), may_be_single=trained_columns is not None)
        return Table({x: examples}, labels, y, task, path, first_line=0)
    if targets.dtype.kind == "U":
        raise DataError(f"data.y: regression needs numbers. Received: {targets[0]!r}")
    return Table({x: examples}, targets.astype("float64"), y, task, path, first_line=0)


def _labels(targets: np.ndarray, missing: Sequence[str], *, may_be_single: bool) -> np.ndarray:
    """Returns targets as the labels of classes, (N,) object of str; whole numbers are written as such.

    Raises:
        DataError: there is a single class, and that may not be.
    """
    values, classes = np.unique(targets, return_inverse=True)
    filled = [value for value in values.tolist() if value == value]  # nan differs from itself
    if targets.dtype.kind == "f" and all(value.is_integer() for value in filled):
        texts = [str(int(value)) if value == value else "" for value in values.tolist()]
    else:
        texts = [str(value).strip() if value == value else "" for value in values.tolist()]
    texts = ["" if text in missing else text for text in texts]
    if len(set(texts) - {""}) < 2 and not may_be_single:
        raise DataError(f"data.y: a single class. Received: {texts[0]!r}")
    return np.array(texts, dtype=object)[classes]


def _open(path: str) -> zipfile.ZipFile:
    """Opens the archive. Raises DataError if it is none."""
    with open(path, "rb") as file:
        start = file.read(6)
    if start == b"\x93NUMPY":
        raise DataError(f"data.path: {path} holds a single array; an .npz file with two is needed (numpy.savez).")
    if not start.startswith(b"PK"):
        raise DataError(f"data.path: {path} can't be read as an .npz file: it isn't one (numpy.savez writes them)")
    return zipfile.ZipFile(path)


@dataclass(frozen=True)
class _Stored:
    """An array in an archive, whose header has been read.

    Attributes:
        path: the archive.
        option: the config key that names the array, for messages.
        member: its entry in the archive.
        offset: the number of bytes of its header.
        is_fortran: whether its first index moves fastest.
    """

    path: str
    option: str
    member: zipfile.ZipInfo
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    is_fortran: bool

    @classmethod
    def find(cls, archive: zipfile.ZipFile, path: str, *, name: str, option: str) -> _Stored:
        """Reads the header of an array. Raises DataError if there is none of this name, or its size isn't right."""
        members = {entry.removesuffix(".npy"): entry for entry in archive.namelist()}
        if name not in members:
            hint = near_miss(name, list(members))
            raise DataError(
                f"data.{option}: no such array in {path}. Received: {name!r}. Known: {', '.join(members)}.{hint}"
            )
        member = archive.getinfo(members[name])
        with archive.open(member) as file:
            read_header = HEADERS.get(np.lib.format.read_magic(file))
            if read_header is None:
                raise DataError(f"data.{option}: array {name!r} of {path} isn't one of numbers or texts")
            shape, is_fortran, dtype = read_header(file)
            stored = cls(path, option, member, file.tell(), shape, dtype, is_fortran)
        if dtype.hasobject:
            raise DataError(f"data.{option}: must be numbers or texts. Received: Python objects, which could run code")
        if stored.offset + stored.num_bytes != member.file_size:
            raise DataError(f"data.path: array {name!r} of {path} isn't whole.")
        return stored

    @property
    def num_bytes(self) -> int:
        """The size of its values."""
        return math.prod(self.shape) * self.dtype.itemsize

    def open(self, archive: zipfile.ZipFile) -> np.ndarray | arrays.StoredArray:
        """Returns the array, which stays in the file if the file's bytes are those of the array."""
        if self.is_fortran or not self.dtype.isnative:
            return self.read(archive)
        if self.member.compress_type == zipfile.ZIP_STORED:
            start = _start(self.path, self.member) + self.offset
            return arrays.StoredArray(self.path, start, shape=self.shape, dtype=self.dtype)
        self._check_memory()
        loaded = arrays.aligned_empty(self.shape, self.dtype)
        with archive.open(self.member) as file:
            file.read(self.offset)
            for part in arrays.blocks(loaded):
                rows = loaded[part]
                rows[...] = np.frombuffer(file.read(rows.nbytes), self.dtype).reshape(rows.shape)
        return loaded

    def read(self, archive: zipfile.ZipFile) -> np.ndarray:
        """Returns the array in memory. Raises ResourceError if that is too small."""
        self._check_memory()
        with archive.open(self.member) as file:
            return np.lib.format.read_array(file, allow_pickle=False)  # a pickle could run code

    def _check_memory(self) -> None:
        memory = host_memory.total_bytes()
        if self.num_bytes > memory:
            raise ResourceError(
                f"data.{self.option}: {self.path} unpacks to {self.num_bytes / 2**30:,.1f} GiB, and the memory has "
                f"{memory / 2**30:,.1f} GiB. An array that isn't compressed (numpy.savez) stays on disk"
            )


def _check_examples(stored: _Stored) -> int:
    """Returns the number of examples. Raises DataError if the array holds none."""
    shape = stored.shape
    if stored.dtype.kind not in "biuf" or len(shape) < 2:
        raise DataError(f"data.x: numbers (N, …) are needed. Received: {stored.dtype} {shape}")
    if math.prod(shape[1:]) == 0:
        raise DataError(f"data.x: there are no values. Received: {stored.dtype} {shape}")
    return shape[0]


def _check_targets(stored: _Stored, num_rows: int, *, of: str) -> None:
    """Raises DataError if an array can't be the targets of the rows, before it is read: it could unpack to anything."""
    if stored.shape not in ((num_rows,), (num_rows, 1)) or stored.dtype.kind not in "biufU":
        raise DataError(
            f"data.y: ({num_rows},) are needed, one for each of {of!r}. Received: {stored.dtype} {stored.shape}"
        )
    if stored.dtype.itemsize > LABEL_CHARACTERS * np.dtype("U1").itemsize:
        raise DataError(f"data.y: texts of at most {LABEL_CHARACTERS} characters are needed. Received: {stored.dtype}")


def _start(path: str, member: zipfile.ZipInfo) -> int:
    """Returns the offset of a member's content in the archive, behind its header, name and extra field."""
    with open(path, "rb") as file:
        file.seek(member.header_offset + 26)
        return member.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
