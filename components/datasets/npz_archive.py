"""Reads arrays of an .npz file, a NumPy archive, without trusting it."""

from __future__ import annotations

import contextlib
import math
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tfrun import host_memory
from tfrun.data import arrays
from tfrun.errors import DataError, ResourceError, near_miss

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
LABEL_CHARACTERS = 1000  # the length of the longest text that may be a class


@contextlib.contextmanager
def readable(path: str) -> Iterator[None]:
    """Raises DataError for whatever a damaged archive raises, which can be almost anything."""
    try:
        yield
    except (DataError, ResourceError):
        raise
    except Exception as error:
        raise DataError(f"data.path: {path} can't be read as an .npz file: {error}") from None


def open_archive(path: str) -> zipfile.ZipFile:
    """Opens the archive. Raises DataError if it is none."""
    with open(path, "rb") as file:
        start = file.read(6)
    if start == b"\x93NUMPY":
        raise DataError(f"data.path: {path} holds a single array; an .npz file with two is needed (numpy.savez).")
    if not start.startswith(b"PK"):
        raise DataError(f"data.path: {path} can't be read as an .npz file: it isn't one (numpy.savez writes them)")
    return zipfile.ZipFile(path)


@dataclass(frozen=True)
class NpzArray:
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
    def find(cls, archive: zipfile.ZipFile, path: str, *, name: str, option: str) -> NpzArray:
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

    def open_flat(self, archive: zipfile.ZipFile) -> np.ndarray | arrays.StoredArray:
        """Returns an array (N, 1) or (N,) as (N,)."""
        opened = self.open(archive)
        return opened if opened.ndim == 1 else opened[:].reshape(len(opened))

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


def _start(path: str, member: zipfile.ZipInfo) -> int:
    """Returns the offset of a member's content in the archive, behind its header, name and extra field."""
    with open(path, "rb") as file:
        file.seek(member.header_offset + 26)
        return member.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))


def check_texts(array: NpzArray) -> None:
    """Raises DataError if the texts of an array are so long that it could unpack to anything."""
    if array.dtype.itemsize > LABEL_CHARACTERS * np.dtype("U1").itemsize:
        raise DataError(
            f"data.{array.option}: texts of at most {LABEL_CHARACTERS} characters are needed. Received: {array.dtype}"
        )
