"""Finds the files that data.path names: a file, several, a folder or a pattern such as shards/*.parquet."""

from __future__ import annotations

import glob
from collections.abc import Collection, Sequence
from pathlib import Path

from tfrun.components.datasets.checks import existing_file
from tfrun.errors import DataError


def files_of(paths: str | Sequence[str], endings: Collection[str]) -> list[str]:
    """Returns the files, those of a folder or a pattern by name.

    Args:
        paths: each a file, a folder or a pattern; `**` stands for folders within each other.
        endings: of the files in a folder that count, all others there are left out.

    Raises:
        DataError: there is no such file.
        ResourceError: a file may not be read.
    """
    listed = [paths] if isinstance(paths, str) else list(paths)
    files = [file for path in listed for file in _files_of_one(path, endings)]
    twice = next((file for file in files if files.count(file) > 1), None)
    if twice is not None:
        raise DataError(f"data.path: names a file twice. Received: {twice!r}")
    if not files:
        raise DataError("data.path: must name a file. Received: []")
    return files


def _files_of_one(path: str, endings: Collection[str]) -> list[str]:
    expanded = Path(path).expanduser()
    if expanded.is_dir():
        files = [str(file) for file in sorted(expanded.rglob("*")) if _counts(file, expanded, endings)]
        if not files:
            raise DataError(f"data.path: no file of this folder ends in {', '.join(endings)}. Received: {path!r}")
    elif glob.has_magic(path) and not expanded.exists():
        files = [file for file in sorted(glob.glob(str(expanded), recursive=True)) if not Path(file).is_dir()]
        if not files:
            raise DataError(f"data.path: no file has a name of this pattern. Received: {path!r}")
    else:
        files = [path]
    return [existing_file(file) for file in files]


def _counts(file: Path, folder: Path, endings: Collection[str]) -> bool:
    """Returns whether a file in a folder is one of its data; programs mark others with _ or a dot."""
    is_marked = any(part.startswith(("_", ".")) for part in file.relative_to(folder).parts)
    return file.is_file() and file.suffix.lower() in endings and not is_marked
