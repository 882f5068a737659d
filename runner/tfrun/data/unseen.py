"""Counts the rows whose cells a trained run knows nothing of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tfrun.config.column_kinds import CategoryKind, ColumnKind
from tfrun.data.kinds import BooleanColumn, CategoryColumn, DateColumn, OrderedColumn, is_text
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table

COUNTED = (CategoryColumn, BooleanColumn, OrderedColumn, DateColumn)


def unseen_rows(table: Table, preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Returns for each column which rows have a value that the run can't read, (N,) bool; an empty cell is no value.

    Of a category that is one without an id, of a date one that is none. Numbers, hashed texts and words have no such.

    To be called before the table is encoded.

    Args:
        table: the raw rows.
        preprocessing: the run's.
    """
    unseen = {}
    for column in preprocessing.columns:
        cells = table.columns.get(column.name)
        if isinstance(column, COUNTED) and cells is not None and is_text(cells) == column.is_text:
            unseen[column.name] = column.unknown(cells)
    return unseen


def describe_unseen(
    counts: Mapping[str, int], num_rows: int, *, preprocessing: Preprocessing, kinds: Mapping[str, ColumnKind]
) -> Iterator[str]:
    """Yields a sentence for each column that has values that a run can't read.

    Args:
        counts: in how many rows each column has such a value.
        num_rows: of how many.
        preprocessing: the run's.
        kinds: the kinds that its config names, of which some may keep only the most frequent values.
    """
    columns = {column.name: column for column in preprocessing.columns}
    for name, count in counts.items():
        column = columns[name]
        if count and isinstance(column, COUNTED):
            kind = kinds.get(name)
            limited = isinstance(kind, CategoryKind) and (kind.max_ids is not None or kind.min_count > 1)
            of = "that aren't among the most frequent of the training rows"
            which = of if limited else column.unknown_are
            yield f"column {name!r}: {count:,} of {num_rows:,} rows have values {which}: they count as empty"
