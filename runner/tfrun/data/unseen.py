"""Counts the rows whose texts a trained run knows nothing of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tfrun.data.columns import CategoryColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table


def unseen_texts(table: Table, preprocessing: Preprocessing, rows: np.ndarray | None = None) -> Iterator[str]:
    """Yields a line for each category column that has values without an id. To be called before the table is encoded.

    Args:
        table: the raw rows.
        preprocessing: the run's.
        rows: the numbers of the rows to count; None counts all.
    """
    for column in preprocessing.columns:
        cells = table.columns.get(column.name)
        if not isinstance(column, CategoryColumn) or cells is None or cells.dtype != object:
            continue
        cells = cells if rows is None else cells[rows]
        known = {*column.values, ""}
        count = sum(text not in known for text in cells.tolist())
        if count:
            yield (
                f"column {column.name!r}: {count:,} of {len(cells):,} rows have values that the training rows don't "
                "have: they are as good as empty"
            )
