"""Finds the files that data.path names: a file, several, a folder or a pattern such as shards/*.parquet."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tfrun.components.datasets.checks import existing_file
from tfrun.config.data_paths import expand
from tfrun.errors import DataError


def files_of(path: str | list[str], endings: Collection[str]) -> list[str]:
    """Returns the files, ordered by name.

    Args:
        path: a file, a folder or a pattern, or several of them.
        endings: of the files in a folder that count; all others there are left out.

    Raises:
        DataError: there is no such file, or one is named twice.
        ResourceError: a file may not be read.
    """
    return [existing_file(file) for name in expand(path) for file in _files_in(Path(name), endings)]


def _files_in(path: Path, endings: Collection[str]) -> list[str]:
    """Returns a file as it is, or the files of a folder."""
    if not path.is_dir():
        return [str(path)]
    files = [str(file) for file in sorted(path.rglob("*")) if _counts(file, path, endings)]
    if not files:
        raise DataError(f"data.path: no file of this folder ends in {', '.join(endings)}. Received: {str(path)!r}")
    return files


def _counts(file: Path, folder: Path, endings: Collection[str]) -> bool:
    """Returns whether a file in a folder is one of its data; programs mark others with _ or a dot."""
    is_marked = any(part.startswith(("_", ".")) for part in file.relative_to(folder).parts)
    return file.is_file() and file.suffix.lower() in endings and not is_marked


def versions(files: Sequence[str]) -> list[list[Any]]:
    """Returns what changes when one of some files is written, replaced or moved: its path, size and time."""
    stats = [(os.path.realpath(file), os.stat(file)) for file in files]
    return [[path, stat.st_size, stat.st_mtime_ns] for path, stat in stats]
