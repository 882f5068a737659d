"""Checks that the data sets read from files share."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfrun.data.arrays import blocks
from tfrun.data.labels import WHOLE_NUMBER, shortened
from tfrun.errors import DataError, ResourceError, near_miss

# The cells that stand for no value, in number columns and in targets. In a text column only the empty cell does, and
# what data.missing adds: "None" and "NA" may be categories there.
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A", "?", "-")
MIN_ROWS = 10  # fewer can't be split into training, validation and test rows


def missing_spellings(more: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the cells that stand for no value: the usual ones and `more`; only the empty cell if that is None."""
    return ("",) if more is None else (*MISSING, *more)


def short_labels(labels: np.ndarray) -> np.ndarray:
    """Returns the labels of classes, (N,) object of str; "" is a missing one.

    If all are whole numbers, they are written without `.0`: programs write 1 as 1.0 where others are missing.
    """
    different = set().union(*(labels[rows].tolist() for rows in blocks(labels))) - {""}
    short = {text: shortened(text) for text in different}
    if not all(WHOLE_NUMBER.fullmatch(text) for text in different) or all(text == short[text] for text in different):
        return labels
    spelt = np.empty_like(labels)
    for rows in blocks(labels):
        spelt[rows] = [short.get(text, "") for text in labels[rows].tolist()]
    return spelt


def existing_file(path: str) -> str:
    """Returns `path` with ~ replaced by the home folder.

    Raises:
        DataError: the path isn't a regular file; the message suggests a file of a similar name in its folder.
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
    if not stat.S_ISREG(file.stat().st_mode):  # opening a pipe would wait, and a device may have no end
        raise DataError(f"data.path: must be a regular file, not a pipe or a device. Received: {path!r}")
    try:
        with open(file, "rb") as opened:
            opened.read(1)
    except PermissionError:
        raise ResourceError(f"data.path: no permission to read the file. Received: {path!r}") from None
    except OSError as error:
        raise DataError(f"data.path: {path} can't be read: {error.strerror}") from None
    return str(file)


def check_num_rows(path: str, num_rows: int, *, least: int) -> None:
    """Raises DataError if a file has too few rows."""
    if num_rows < least:
        rows = "a header but no rows" if num_rows == 0 else f"{num_rows} rows"
        raise DataError(f"data.path: {path} has {rows}; at least {least} {'is' if least == 1 else 'are'} needed.")
