"""Opens files of rows that may be compressed: gzip, bzip2, xz and zstd, recognized by their first bytes."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

import pyarrow as pa

from tfrun.errors import DataError

STARTS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}


def packed_as(path: str) -> str | None:
    """Returns how a file is compressed, or None if it isn't."""
    with open(path, "rb") as file:
        start = file.read(max(map(len, STARTS)))
    return next((name for known, name in STARTS.items() if start.startswith(known)), None)


@contextlib.contextmanager
def unpacked(path: str) -> Iterator[BinaryIO]:
    """Opens a file as the bytes that it stands for.

    Raises:
        DataError: it is an archive of several files, or can't be unpacked.
    """
    kind = packed_as(path)
    try:
        with _open(path, kind) as file:
            yield file
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if kind is None:
            raise
        raise DataError(f"data.path: {path} can't be unpacked ({kind}), it is damaged or not whole: {error}") from None


def _open(path: str, kind: str | None) -> BinaryIO:
    if kind is None:
        return open(path, "rb")
    if kind == "gzip":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if kind == "bzip2":
        return cast(BinaryIO, bz2.BZ2File(path))
    if kind == "xz":
        return cast(BinaryIO, lzma.LZMAFile(path))
    if kind == "zstd":
        return cast(BinaryIO, io.BufferedReader(pa.CompressedInputStream(pa.OSFile(path), "zstd")))
    raise DataError(f"data.path: {path} is compressed ({kind}); unpack it first")
