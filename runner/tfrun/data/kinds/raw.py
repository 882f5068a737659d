"""A raw column, as a kind of column learns from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfrun.data.arrays import StoredArray
from tfrun.errors import DataError, as_typed

BLOCK_ROWS = 2**16  # texts that are looked at together: a column of texts may be larger than the memory


@dataclass(frozen=True)
class RawColumn:
    """The cells of a column, and which of them are learnt from.

    Attributes:
        name: the column's name.
        cells: (N,) float64 with nan for empty, (N,) object of str with "" for empty, or (N, ...) numbers.
        rows: the numbers of the training rows.
        source: where the rows come from, for messages.
    """

    name: str
    cells: Any
    rows: np.ndarray
    source: str

    @property
    def is_text(self) -> bool:
        """Whether the cells are texts."""
        return is_text(self.cells)

    def training_cells(self) -> np.ndarray:
        """Returns a copy of the cells of the training rows."""
        return self.cells[self.rows]

    def training_blocks(self) -> Iterator[np.ndarray]:
        """Yields the cells of the training rows, a block of rows at a time."""
        for start in range(0, len(self.rows), BLOCK_ROWS):
            yield self.cells[self.rows[start : start + BLOCK_ROWS]]

    def no_value(self) -> DataError:
        """Returns the error for a column of which nothing can be learnt."""
        return DataError(
            f"{self.source}: column {self.name!r} has no value in the training rows. "
            f"Leave it out, with data=csv by {as_typed('data.exclude', [self.name])}"
        )


def is_text(cells: np.ndarray | StoredArray) -> bool:
    """Returns whether the cells of a raw column are texts."""
    return cells.ndim == 1 and cells.dtype == object
