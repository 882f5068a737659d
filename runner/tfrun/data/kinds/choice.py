"""Chooses the kind of a column, and lets it learn from the training rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrun.config.column_kinds import (
    TEXT_KINDS,
    ArrayKind,
    BooleanKind,
    CategoryKind,
    ColumnKind,
    DateKind,
    ImageKind,
    NumberKind,
)
from tfrun.data.kinds.array import ArrayColumn
from tfrun.data.kinds.boolean import BooleanColumn
from tfrun.data.kinds.category import CategoryColumn
from tfrun.data.kinds.date import DateColumn, seconds_of
from tfrun.data.kinds.hashed import HashedColumn
from tfrun.data.kinds.image import ImageColumn
from tfrun.data.kinds.number import NumberColumn
from tfrun.data.kinds.ordered import OrderedColumn
from tfrun.data.kinds.raw import RawColumn
from tfrun.data.kinds.texts import are_unknown
from tfrun.data.kinds.tokens import TokensColumn
from tfrun.errors import DataError

NumericColumn = NumberColumn | BooleanColumn | OrderedColumn | DateColumn  # each becomes columns of inputs["numbers"]
IdColumn = CategoryColumn | HashedColumn  # each becomes a column of inputs["categories"]
Column = NumericColumn | IdColumn | TokensColumn | ArrayColumn
KINDS: tuple[type[Column], ...] = (  # in the order in which a model gets them
    NumberColumn,
    BooleanColumn,
    OrderedColumn,
    DateColumn,
    CategoryColumn,
    HashedColumn,
    TokensColumn,
    ArrayColumn,
    ImageColumn,
)
FIRST_ROWS = 1000
COLUMN_OF = {column.kind.name: column for column in KINDS}


def fit_column(
    raw: RawColumn, kind: ColumnKind | None = None, *, exact: bool = True, guesses_dates: bool = True
) -> Column:
    """Learns a column from the training rows.

    Args:
        raw: its cells.
        kind: its kind with the options of the config; None guesses it.
        exact: False for a run of an earlier version, see `NumberInput`.
        guesses_dates: False for a run of an earlier version: a text column of dates is a category.

    Raises:
        DataError: the training rows have no value, or the cells aren't of this kind.
    """
    if kind is None:
        kind = guess(raw, guesses_dates=guesses_dates)
    check_cells(raw, kind)
    if isinstance(kind, NumberKind):
        return NumberColumn.fit(raw, kind, exact=exact)
    return COLUMN_OF[kind.name].fit(raw, kind)  # type: ignore[arg-type] # the kind of this very class


def guess(raw: RawColumn, *, guesses_dates: bool = True) -> ColumnKind:
    """Returns the kind of a column that the config doesn't name, by its cells."""
    if raw.cells.ndim > 1:
        return ArrayKind()
    if not raw.is_text:
        return NumberKind()
    return DateKind() if guesses_dates and are_iso_dates(raw.cells) else CategoryKind()


def are_iso_dates(texts: Any) -> bool:
    """Returns whether all of a column's texts, (N,) object of str, that aren't empty are ISO dates, and one is."""
    first = texts[:FIRST_ROWS]
    if are_unknown(first, seconds_of(first, None)).any():
        return False  # without looking at each text of a large column
    seconds = seconds_of(texts, None)
    return bool((~np.isnan(seconds)).any()) and not are_unknown(texts, seconds).any()


def check_cells(raw: RawColumn, kind: ColumnKind) -> None:
    """Raises DataError if a kind can't take the cells of a column."""
    if isinstance(kind, ArrayKind | ImageKind):
        fits, needed = raw.cells.ndim > 1, "arrays"
    elif isinstance(kind, TEXT_KINDS):
        fits, needed = raw.is_text, "texts"
    elif isinstance(kind, BooleanKind):
        fits, needed = raw.cells.ndim == 1, "texts or numbers"
    else:
        fits, needed = raw.cells.ndim == 1 and not raw.is_text, "numbers"
    if fits:
        return
    where = f"data.kinds.{raw.name}: the kind {kind.name} needs {needed}"
    if raw.is_text and needed == "numbers":
        raw.refuse(are_unknown(raw.cells, np.full(len(raw.cells), np.nan)), where)
    received = f"arrays {tuple(raw.cells.shape[1:])}" if raw.cells.ndim > 1 else "texts" if raw.is_text else "numbers"
    raise DataError(f"{raw.source}: {where}. Received: {received}")
