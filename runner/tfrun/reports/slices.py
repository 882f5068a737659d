"""The error of a model on parts of its rows: those with one value of a category, or in one quarter of a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfrun.reports.texts import readable

MIN_ROWS = 5  # a slice of fewer says nothing
MIN_EXCESS = 1.0  # standard errors
MAX_VALUES = 10  # of a category that have a slice, the most frequent ones


@dataclass(frozen=True)
class Slice:
    """Rows that have something in common.

    Attributes:
        column: the column.
        value: what its cells are, for a person.
        count: how many rows there are.
        error: the mean of their errors' sizes.
        excess: by how many standard errors that is above the mean of all rows.
    """

    column: str
    value: str
    count: int
    error: float
    excess: float


def worst_slices(columns: Mapping[str, Any], sizes: np.ndarray, *, most: int) -> list[Slice]:
    """Returns the slices whose error is a standard error or more above that of all rows, the farthest above it first.

    A standard error is σ/√n, with the standard deviation σ over all rows and the n rows of a slice, so that a few rows
    aren't taken for a weakness that may be chance.

    Args:
        columns: raw cells by column, (R,) each.
        sizes: how bad each row is, (R,); rows whose size isn't finite are left out.
        most: how many slices.
    """
    is_finite = np.isfinite(sizes)
    sizes = sizes[is_finite]
    mean, spread = (float(sizes.mean()), float(sizes.std())) if len(sizes) else (0.0, 0.0)
    if spread == 0:
        return []
    slices = []
    for name, cells in columns.items():
        for value, inside in _slices_of(np.asarray(cells)[is_finite]):
            count = int(inside.sum())
            if MIN_ROWS <= count < len(sizes):
                error = float(sizes[inside].mean())
                slices.append(Slice(name, value, count, error, (error - mean) / (spread / count**0.5)))
    slices = [each for each in slices if each.excess >= MIN_EXCESS]
    return sorted(slices, key=lambda each: -each.excess)[:most]


def _slices_of(cells: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the value of each slice of a column, and which rows are in it, (R,) bool."""
    if cells.dtype == object:
        numbers: dict[str, int] = {}
        codes = np.array([numbers.setdefault(str(cell), len(numbers)) for cell in cells], np.int64)
        texts = list(numbers)
        for code in np.argsort(-np.bincount(codes), kind="stable")[:MAX_VALUES].tolist():
            yield texts[code] or "(empty)", codes == code
        return
    is_empty = np.isnan(cells)
    if is_empty.any():
        yield "(empty)", is_empty
    different = np.unique(cells[~is_empty])
    if len(different) <= 4:
        for value in different.tolist():
            yield readable(value, 6), cells == value
        return
    low, middle, high = np.quantile(cells[~is_empty], [0.25, 0.5, 0.75]).tolist()
    yield f"≤ {readable(low)}", cells <= low
    yield f"{readable(low)} to {readable(middle)}", (cells > low) & (cells <= middle)
    yield f"{readable(middle)} to {readable(high)}", (cells > middle) & (cells <= high)
    yield f"> {readable(high)}", cells > high
