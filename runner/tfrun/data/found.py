"""What there is in a data set: for the first lines of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfrun.data.arrays import blocks
from tfrun.data.bags import Bags
from tfrun.data.kinds import is_text
from tfrun.data.lazy_texts import LazyTexts
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.errors import as_typed

MIN_ROWS = 20  # that whole numbers must have before they are taken for ids


@dataclass(frozen=True)
class Found:
    """What a person should know of the rows of a run.

    Attributes:
        columns: kind -> the names of its columns; a category's with its number of values, `island (3)`.
        filled: column -> how many of its cells are empty, and are filled.
        classes: target -> class -> how many rows have it, the most frequent first.
    """

    columns: dict[str, list[str]] = field(default_factory=dict)
    filled: dict[str, int] = field(default_factory=dict)
    classes: dict[str, dict[str, int]] = field(default_factory=dict)


def find(table: Table, preprocessing: Preprocessing) -> Found:
    """Returns what is in a table; to be called before its columns are released.

    Args:
        table: the raw rows.
        preprocessing: fitted on training rows.
    """
    columns: dict[str, list[str]] = {}
    for column in preprocessing.columns:
        values = getattr(column, "values", None)
        name = column.name if values is None else f"{column.name} ({len(values)})"
        columns.setdefault(column.kind.name, []).append(name)
    filled = {column.name: _num_empty(table.columns[column.name]) for column in preprocessing.columns}
    classes = {
        name: dict(Counter(target.values.tolist()).most_common())
        for name, target in table.targets.items()
        if target.task == "classification"
    }
    return Found(columns, {name: count for name, count in filled.items() if count}, classes)


def _num_empty(cells: Any) -> int:
    """Returns the number of cells without a value, a block at a time; arrays have none."""
    if cells.ndim > 1:
        return 0
    if isinstance(cells, LazyTexts):
        return sum(int(cells.are_empty(rows).sum()) for rows in blocks(cells))
    return sum(int((cells[rows] == "" if is_text(cells) else np.isnan(cells[rows])).sum()) for rows in blocks(cells))


def describe_cut(table: Table, preprocessing: Preprocessing) -> Iterator[str]:
    """Yields a sentence for each column of lists of which some are cut; to be called before it is released."""
    for column in preprocessing.tokens:
        cells = table.columns[column.name]
        if not isinstance(cells, Bags):
            continue
        count = sum(int((cells.lengths(rows) > column.length).sum()) for rows in blocks(cells))
        if count:
            yield (
                f"column {column.name!r} of {table.source}: {count:,} of {len(cells):,} lists have more than "
                f"{column.length} ids and are cut. To keep more: length in data.text or data.kinds"
            )


def describe_ids(table: Table) -> Iterator[str]:
    """Yields a sentence for each column of numbers that numbers the rows, or has another whole number in each.

    A model learns such a column by heart, which is of no use for other rows.
    """
    num_rows = len(table.target)
    for name, cells in table.columns.items():
        if cells.ndim > 1 or is_text(cells) or num_rows < MIN_ROWS:
            continue
        numbers = cells[:]
        if np.isnan(numbers).any() or (numbers != np.floor(numbers)).any():
            continue
        is_row_number = (np.diff(numbers) == 1).all()
        if is_row_number or len(np.unique(numbers)) == num_rows:
            what = "numbers the rows" if is_row_number else "has another whole number in each row, as an id has"
            yield (
                f"column {name!r} of {table.source}: {what}, so nothing can be learnt from it for other rows. "
                f"Leave it out: {as_typed('data.exclude', [name])}"
            )
