"""Reads the records of TFRecord files, each checked against its checksums.

The format is that of tensorflow/core/lib/io/record_writer.h: a record is its length (uint64), the masked CRC-32C of
these 8 bytes, its content, and the masked CRC-32C of that.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import google_crc32c

from tfrun.errors import DataError

GZIP = b"\x1f\x8b"
GZIP_RATIO = 4  # about how much smaller gzip makes a file
BUFFER_BYTES = 2**20
MASK = 0xA282EAD8
HEAD = struct.Struct("<QI")
CHECKSUM = struct.Struct("<I")


class Record(NamedTuple):
    """A record of a file.

    Attributes:
        number: from 0 on.
        content: its bytes.
    """

    number: int
    content: bytes


def read_records(path: str) -> Iterator[Record]:
    """Yields the records of a file, which may be compressed by gzip.

    Raises:
        DataError: a record isn't what was written; the message names the byte at which it begins.
    """
    with open(path, "rb") as raw:
        is_gzip = raw.read(2) == GZIP
    opened: Any = gzip.open(path) if is_gzip else open(path, "rb", buffering=BUFFER_BYTES)  # noqa: SIM115
    unpacked = " of the unpacked file" if is_gzip else ""
    offset = number = 0
    with opened as file:
        while True:
            where = f"{path}: record {number}, which begins at byte {offset}{unpacked}"
            try:
                head = file.read(HEAD.size)
                if not head:
                    return
                content, size = _read_content(file, head, where)
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(f"{where}: can't be read: {error}") from None
            yield Record(number, content)
            offset, number = offset + size, number + 1


def unpacked_bytes(path: str) -> int:
    """Returns the size of a file, about that of its content if it is compressed."""
    with open(path, "rb") as raw:
        is_gzip = raw.read(2) == GZIP
    return os.path.getsize(path) * (GZIP_RATIO if is_gzip else 1)


def _read_content(file: Any, head: bytes, where: str) -> tuple[bytes, int]:
    """Returns a record's content, and the number of bytes of the whole record, whose head was read."""
    if len(head) < HEAD.size:
        raise DataError(f"{where}, is cut off: the file isn't whole, or is no TFRecord file")
    length, checksum = HEAD.unpack(head)
    if checksum != _masked_crc(head[:8]):
        raise DataError(f"{where}, is corrupt, or the file is no TFRecord file: the checksum of its length is wrong")
    content = file.read(length)
    end = file.read(CHECKSUM.size)
    if len(content) < length or len(end) < CHECKSUM.size:
        raise DataError(f"{where}, is cut off: the file isn't whole")
    if CHECKSUM.unpack(end)[0] != _masked_crc(content):
        raise DataError(f"{where}, is corrupt: the checksum of its content is wrong")
    return content, HEAD.size + length + CHECKSUM.size


def _masked_crc(content: bytes) -> int:
    crc = google_crc32c.value(content)
    return (((crc >> 15) | (crc << 17)) + MASK) & 0xFFFFFFFF
