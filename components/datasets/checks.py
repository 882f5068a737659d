"""Checks that the data sets read from files share."""

from __future__ import annotations

from pathlib import Path

from tfrun.errors import DataError, ResourceError, near_miss

MIN_ROWS = 10  # fewer can't be split into training, validation and test rows


def existing_file(path: str) -> str:
    """Returns `path` with ~ replaced by the home folder.

    Raises:
        DataError: the path isn't a file; the message suggests a file of a similar name in its folder.
        ResourceError: the file may not be read.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise DataError(f"data.path: must be a file, not a folder. Received: {path!r}")
    if not file.exists():
        folder = file.parent
        if not folder.is_dir():
            raise DataError(f"data.path: no such folder. Received: {str(folder)!r}")
        hint = near_miss(file.name, [entry.name for entry in folder.iterdir()])
        raise DataError(f"data.path: no such file. Received: {path!r}.{hint}")
    try:
        with open(file, "rb") as opened:
            opened.read(1)
    except PermissionError:
        raise ResourceError(f"data.path: no permission to read the file. Received: {path!r}") from None
    except OSError as error:
        raise DataError(f"data.path: {path} can't be read: {error.strerror}") from None
    return str(file)
