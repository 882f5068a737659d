"""Rows that are read later must hold what the rows before them held: texts, numbers or arrays of one shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfrun.data.table import Table
from tfrun.errors import DataError


@dataclass(frozen=True)
class CellKind:
    """What the cells of a column are.

    Attributes:
        is_text: whether they are texts.
        shape: of each cell, for a column of arrays; None for one of texts or numbers.
    """

    is_text: bool
    shape: tuple[int, ...] | None = None

    @classmethod
    def of(cls, cells: Any) -> CellKind:
        """Returns the kind of a table's column."""
        return cls(cells.ndim == 1 and cells.dtype == object, tuple(cells.shape[1:]) if cells.ndim > 1 else None)


def as_kind(table: Table, name: str, kind: CellKind, *, then: str) -> Any:
    """Returns the cells of a column. One without any value may be of the wrong kind, as nobody can tell its kind.

    Args:
        table: the rows.
        name: the column's.
        kind: what it must be.
        then: completes "as", for messages: "in training".

    Raises:
        DataError: it is of another kind.
    """
    cells, where = table.columns[name], f"{table.source}: column {name!r}"
    if kind.shape is not None:
        if cells.shape[1:] != kind.shape:
            shapes = f"{kind.shape}, as {then}. Received: {tuple(cells.shape[1:])}"
            raise DataError(f"{where} must hold arrays of the shape {shapes}")
        return cells
    is_text = cells.ndim == 1 and cells.dtype == object
    if cells.ndim > 1 or (kind.is_text and not is_text and not np.isnan(cells).all()):
        raise DataError(f"{where} must hold {'texts' if kind.is_text else 'numbers'}, as {then}")
    if kind.is_text and not is_text:
        return np.full(len(cells), "", dtype=object)
    if is_text and not kind.is_text:
        row = next((row for row, text in enumerate(cells) if text), None)
        if row is not None:
            place = f"{table.find(row)[0]}, column {name!r}"
            raise DataError(f"{place}: must be a number, as {then}. Received: {cells[row]!r}")
        return np.full(len(cells), np.nan)
    return cells
