"""A raw column, as a kind of column learns from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfrun.data.arrays import StoredArray
from tfrun.errors import DataError, as_typed, near_miss

KINDS_KEY = "kinds"  # in preprocessing.json: column -> its kind and what it has learnt, of all but the oldest kinds
BLOCK_ROWS = 2**16  # texts that are looked at together: a column of texts may be larger than the memory


@dataclass(frozen=True)
class RawColumn:
    """The cells of a column, and which of them are learnt from.

    Attributes:
        name: the column's name.
        cells: (N,) float64 with nan for empty, (N,) object of str with "" for empty or a `LazyTexts`, or (N, ...)
            numbers.
        rows: the numbers of the training rows.
        source: where the rows come from, for messages.
        find: (row, column) -> where a cell is, and how it is written there if that is known; see `Table.find`.
    """

    name: str
    cells: Any
    rows: np.ndarray
    source: str
    find: Callable[[int, str | None], tuple[str, str | None]] | None = field(default=None, repr=False, compare=False)

    @property
    def is_text(self) -> bool:
        """Whether the cells are texts."""
        return is_text(self.cells)

    def training_cells(self) -> np.ndarray:
        """Returns a copy of the cells of the training rows."""
        return self.cells[self.rows]

    def training_blocks(self) -> Iterator[np.ndarray]:
        """Yields the cells of the training rows, a block of rows at a time."""
        for rows in self.row_blocks():
            yield self.cells[rows]

    def row_blocks(self, num_rows: int = BLOCK_ROWS) -> Iterator[np.ndarray]:
        """Yields the numbers of the training rows, `num_rows` at a time."""
        for start in range(0, len(self.rows), num_rows):
            yield self.rows[start : start + num_rows]

    def no_value(self) -> DataError:
        """Returns the error for a column of which nothing can be learnt."""
        return DataError(
            f"{self.source}: column {self.name!r} has no value in the training rows. "
            f"Leave it out, with data=csv by {as_typed('data.exclude', [self.name])}"
        )

    def refuse(self, is_wrong: np.ndarray, rule: str, *, known: Iterable[str] = ()) -> None:
        """Raises DataError for the first cell that breaks a rule.

        Args:
            is_wrong: whether each cell does, (N,) bool.
            rule: what a cell must be: "must be a date".
            known: texts of which the person may have meant one.
        """
        if is_wrong.any():
            row = int(np.argmax(is_wrong))
            where, cell = (self.source, None) if self.find is None else self.find(row, self.name)
            value = self.cells[row : row + 1].tolist()[0] if cell is None else cell
            count = f" ({int(is_wrong.sum())} such cells)" if is_wrong.sum() > 1 else ""
            rule = f"{rule}. Received: {value!r}{count}.{near_miss(value, known)}"
            raise DataError(f"{where}, column {self.name!r}: {rule}")


def names_of_kind(fields: Mapping[str, Any], kind: str) -> Iterable[str]:
    """Returns the columns that `preprocessing.json` has under `KINDS_KEY` as columns of a kind."""
    return [name for name, column in fields.get(KINDS_KEY, {}).items() if column["name"] == kind]


def is_text(cells: np.ndarray | StoredArray) -> bool:
    """Returns whether the cells of a raw column are texts."""
    return cells.ndim == 1 and cells.dtype == object
