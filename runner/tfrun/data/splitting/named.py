"""The rule `column`: a column says of each row which split it is in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tfrun.data.splitting.parts import codes_of, is_empty
from tfrun.errors import DataError, near_miss

SPLIT_OF = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "holdout": "test",
}


def split_named(cell: Any) -> str | None:
    """Returns the split that a cell names, or None."""
    return SPLIT_OF.get(str(cell).strip().lower())


def named_splits(cells: Any, random: np.random.Generator, *, find: Callable[[int], str], where: str) -> dict[str, Any]:
    """Returns the row numbers of "train", "val" and "test", int32, each shuffled.

    Args:
        cells: a column, (N,).
        random: of the split's seed.
        find: returns where a row is, for messages.
        where: the column, for messages.

    Raises:
        DataError: a cell names no split.
    """
    rows = np.arange(len(cells), dtype=np.int32)
    random.shuffle(rows)
    codes, values = codes_of(cells, rows)
    names = []
    for code, value in enumerate(values):
        split = split_named(value)
        if split is None:
            row = int(rows[codes == code].min())
            what = "is empty" if is_empty(value) else f"names no split. Received: {value!r}"
            hint = "" if is_empty(value) else near_miss(value, SPLIT_OF)
            raise DataError(f"{find(row)}, {where}: {what}. Known: {', '.join(SPLIT_OF)}.{hint}")
        names.append(split)
    split_of = np.array(names, dtype=object)[codes]
    return {split: rows[split_of == split] for split in ("train", "val", "test")}
