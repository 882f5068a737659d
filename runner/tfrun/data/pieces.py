"""Rows that are read a piece at a time, so that they never have to fit into the memory, with cells to be kept."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.errors import ConfigError, near_miss

PIECE_BYTES = 2**26
MAX_ROWS = 2**16
ROWS_TOGETHER = 1024  # a piece has a multiple of it, so that the rows which are evaluated together are always the same
BYTES_PER_VALUE = 16  # of a column, raw and encoded
ROW = "row"  # the number of a row, for sources that have no columns of cells


@dataclass(frozen=True)
class Keep:
    """Which columns of a source are wanted as they are, beside those that a run has learnt from.

    Attributes:
        names: of the columns; None for all.
    """

    names: tuple[str, ...] | None = ()

    def __str__(self) -> str:
        return "all" if self.names is None else str(list(self.names))

    def of(self, known: Sequence[str], source: str) -> list[str]:
        """Returns the columns of a source that are kept, each once.

        Args:
            known: the names of its columns.
            source: where the rows come from, for the message.

        Raises:
            ConfigError: there is no such column, or two have its name.
        """
        kept = list(dict.fromkeys(known if self.names is None else self.names))
        for name in kept:
            if name not in known:
                raise ConfigError(
                    f"keep: no such column in {source}. Received: {name!r}. Known: {', '.join(known)}."
                    f"{near_miss(name, list(known))}"
                )
            if list(known).count(name) > 1:
                others = "" if self.names else ". Name the others: keep=[NAME,NAME]"
                raise ConfigError(f"keep: two columns of {source} have the same name. Received: {name!r}{others}")
        return kept


@dataclass(frozen=True)
class Piece:
    """Some rows of a source, one after the other.

    Attributes:
        table: the rows, (N,); `find` names their places in the whole source.
        kept: the cells of the columns that are kept, by name, an Arrow array (N,) each, or what Arrow makes one of.
    """

    table: Table
    kept: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RowPieces:
    """The rows of a source, to be read a piece at a time.

    Attributes:
        source: where they come from, for messages.
        read: yields the pieces, in order; each has as many rows as are asked for, but the last one, which has fewer.
    """

    source: str
    read: Callable[[int], Iterator[Piece]]

    def map(self, change: Callable[[Table], Table]) -> RowPieces:
        """Returns the same rows, with the table of each piece changed."""

        def read(num_rows: int) -> Iterator[Piece]:
            for piece in self.read(num_rows):
                yield Piece(change(piece.table), piece.kept)

        return RowPieces(self.source, read)

    def begun(self, num_rows: int) -> Iterator[Piece]:
        """Returns the pieces, of which the first has been read, so that its errors come now."""
        pieces = self.read(num_rows)
        return itertools.chain(list(itertools.islice(pieces, 1)), pieces)


def whole(table: Table) -> RowPieces:
    """Returns a table as a single piece."""
    return RowPieces(table.source, lambda _: iter([Piece(table)]))


def cut(table: Table, cells: Mapping[str, Callable[[slice], Any]]) -> RowPieces:
    """Returns the rows of a table that has been read, cut into pieces.

    Args:
        table: the rows; their columns stay on disk if they are there.
        cells: of the columns that are kept, by name: returns those of some rows.
    """

    def read(num_rows: int) -> Iterator[Piece]:
        for start in range(0, len(table.target), num_rows):
            rows = slice(start, min(start + num_rows, len(table.target)))
            yield Piece(table.between(rows), {name: read_cells(rows) for name, read_cells in cells.items()})

    return RowPieces(table.source, read)


def cells_to_keep(table: Table, keep: Keep) -> dict[str, Callable[[slice], Any]]:
    """Returns what `cut` needs to keep columns of a table itself; if none has one cell in each row, their numbers.

    Raises:
        ConfigError: there is no such column.
    """
    columns = {name: column for name, column in table.columns.items() if column.ndim == 1}
    readers: dict[str, Callable[[slice], Any]] = {name: column.__getitem__ for name, column in columns.items()}
    readers = readers or {ROW: row_numbers}
    return {name: readers[name] for name in keep.of(list(readers), table.source)}


def rows_of_piece(fitted: Preprocessing) -> int:
    """Returns how many rows of a trained run's columns are read at once: the fewer, the larger the arrays in them."""
    values = sum(math.prod(column.shape) for column in fitted.arrays) + sum(column.length for column in fitted.tokens)
    row_bytes = BYTES_PER_VALUE * (values + len(fitted.columns))
    return ROWS_TOGETHER * max(1, min(MAX_ROWS, PIECE_BYTES // row_bytes) // ROWS_TOGETHER)


def row_numbers(rows: slice) -> np.ndarray:
    """Returns the numbers of rows in their source, from 0 on, int64."""
    return np.arange(rows.start, rows.stop)
