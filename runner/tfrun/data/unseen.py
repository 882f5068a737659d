"""Counts the rows whose texts a trained run knows nothing of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tfrun.config.settings import TextEncoding, VocabularyEncoding
from tfrun.data.kinds import CategoryColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table


def unseen_rows(table: Table, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Returns for each category column which rows have a value without an id, (N,) bool; an empty cell is no value.

    To be called before the table is encoded.

    Args:
        table: the raw rows.
        preprocessing: the run's.
    """
    unseen = {}
    for column in preprocessing.columns:
        cells = table.columns.get(column.name)
        if isinstance(column, CategoryColumn) and cells is not None and cells.dtype == object:
            known = {*column.values, ""}
            unseen[column.name] = np.fromiter((text not in known for text in cells), bool, len(cells))
    return unseen


def describe_unseen(
    unseen: Mapping[str, np.ndarray], rows: np.ndarray, text: Mapping[str, TextEncoding]
) -> Iterator[str]:
    """Yields a sentence for each column that has values without an id.

    Args:
        unseen: what `unseen_rows` returns.
        rows: the numbers of the rows to count.
        text: the encodings of columns, data.text, of which some may keep only the most frequent values.
    """
    for name, is_unseen in unseen.items():
        count = int(is_unseen[rows].sum())
        if count:
            encoding = text.get(name)
            limited = isinstance(encoding, VocabularyEncoding) and encoding.max_ids is not None
            of = "that aren't among the most frequent of the training rows"
            which = of if limited else "that the training rows don't have"
            yield f"column {name!r}: {count:,} of {len(rows):,} rows have values {which}: they count as empty"
