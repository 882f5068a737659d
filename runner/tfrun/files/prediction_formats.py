"""The formats of files of predictions, known by the file's ending."""

from __future__ import annotations

from pathlib import Path

FORMATS = {".csv": "csv", ".csv.gz": "csv.gz", ".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow"}


def format_of(path: Path) -> str | None:
    """Returns the format of a file, or None if its ending is none of `FORMATS`."""
    name = path.name.lower()
    return next((format for ending, format in FORMATS.items() if name.endswith(ending) and name != ending), None)
