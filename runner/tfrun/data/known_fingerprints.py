"""Remembers the fingerprints of tables whose columns lie in a store, so that a later run doesn't read all of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tfrun.data.arrays import JoinedArray, StoredArray, blocks
from tfrun.data.lazy_texts import LazyTexts
from tfrun.errors import ResourceError
from tfrun.files.disk import write_atomically

FOLDER = "fingerprints"  # in the folder of the stores


def place_of(columns: Iterable[tuple[str, Any]]) -> Path | None:
    """Returns the file that remembers the fingerprint of some columns.

    It is None if they all are in memory, or if one lies in a file that isn't a store's, which anyone may change.

    Args:
        columns: all that the fingerprint follows from, by name.
    """
    digest = hashlib.sha256()
    folder: Path | None = None
    for name, column in columns:
        digest.update(f"{name}\0".encode())
        for part in _parts(column):
            if isinstance(part, StoredArray):
                if not part.is_kept:
                    return None
                file = Path(part.path)
                folder = file.parents[1] / FOLDER
                stat = os.fstat(part.file)
                digest.update(f"{file} {part.offset} {part.shape} {stat.st_mtime_ns} {stat.st_size}\0".encode())
            else:
                _update(digest, part)
    return None if folder is None else folder / digest.hexdigest()


def recall(place: Path) -> str | None:
    """Returns what was remembered there, or None."""
    try:
        text = place.read_text()
    except (OSError, UnicodeDecodeError):
        return None
    return text if len(text) == 64 else None


def remember(place: Path, fingerprint: str) -> None:
    """Remembers a fingerprint; a disk that refuses doesn't matter."""
    with contextlib.suppress(OSError, ResourceError):
        place.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomically(place, fingerprint)


def _parts(column: Any) -> Iterable[Any]:
    """Yields the arrays on disk that a column is made of, and the arrays in memory that say how."""
    if isinstance(column, LazyTexts):
        for part in column.parts():
            yield from _parts(part)
    elif isinstance(column, StoredArray) and column.selected is not None:
        whole, rows = column.selected
        yield rows
        yield from _parts(whole)
    elif isinstance(column, JoinedArray):
        for part in column.parts:
            yield from _parts(part)
    else:
        yield column


def _update(digest: Any, array: np.ndarray) -> None:
    """Adds an array in memory to a digest."""
    digest.update(f"{array.dtype} {array.shape}\0".encode())
    for rows in blocks(array):
        block = array[rows]
        digest.update(("\0".join(block) + "\0").encode() if block.dtype == object else np.ascontiguousarray(block).data)
