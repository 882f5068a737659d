"""The fingerprint of a table: equal contents have equal ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from tfrun.data import known_fingerprints
from tfrun.data.arrays import blocks
from tfrun.data.lazy_texts import LazyTexts
from tfrun.data.table import Table
from tfrun.errors import DataError


def fingerprint(table: Table) -> str:
    """Returns the SHA-256 of a table's columns, targets and weights, and of what splits its rows, in hexadecimal.

    Raises:
        DataError: an array column holds nan or inf. This is the one place that reads every row of a file, so it is
            checked here.
    """
    targets = [(name, target.values) for name, target in table.targets.items()]
    weights = [] if table.weights is None else [("", table.weights)]
    splits = [(f"rows of {name}", np.asarray(rows, "int64")) for name, rows in (table.given or {}).items()]
    split_cells = [] if table.split_cells is None else [("split", table.split_cells)]
    series = [] if table.series is None else [("series", table.series.bounds)]
    columns = [*table.columns.items(), *targets, *weights, *splits, *split_cells, *series]
    place = known_fingerprints.place_of(columns)
    known = known_fingerprints.recall(place) if place else None
    if known is not None:
        return known
    computed = _computed(columns, source=table.source, first_row=table.first_row)
    if place is not None:
        known_fingerprints.remember(place, computed)
    return computed


def _computed(columns: Iterable[tuple[str, Any]], *, source: str, first_row: int = 0) -> str:
    digest = hashlib.sha256()
    for name, column in columns:
        digest.update(name.encode())
        for rows in blocks(column):
            if isinstance(column, LazyTexts):
                digest.update(b"\0" * (rows.start > 0) + column.joined(rows))
                continue
            block = column[rows]
            if block.dtype == object:
                digest.update(("\0" * (rows.start > 0) + "\0".join(block)).encode())
                continue
            if block.ndim > 1 and block.dtype.kind == "f" and not np.isfinite(block).all():
                row = int(np.argmin(np.isfinite(block).reshape(len(block), -1).all(axis=1)))
                raise DataError(f"{source}: nan or inf in row {first_row + rows.start + row} of {name!r}")
            digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()
