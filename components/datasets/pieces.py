"""Reads the rows of a file of columns for a trained run a piece at a time, with the cells of columns to be kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from tfrun.components.datasets.arrow_types import decoded
from tfrun.components.datasets.checks import check_num_rows
from tfrun.components.datasets.columns import ColumnFile, ColumnOptions, further_names
from tfrun.components.datasets.texts import TextColumn
from tfrun.data.lazy_texts import LazyTexts
from tfrun.data.pieces import Keep, Piece, RowPieces
from tfrun.data.table import Table
from tfrun.errors import DataError


def read_pieces(file: ColumnFile, options: ColumnOptions, keep: Keep) -> RowPieces:
    """Returns the rows of a file without targets, of which no more than a piece is in memory.

    Args:
        file: the rows.
        options: with the columns of the run that the rows are for.
        keep: the columns to be kept.

    Raises:
        ConfigError: there is no such column to keep.
        DataError: the file lacks a column that the run has learnt from.
    """
    names = further_names(file, options)
    kept = keep.of(file.known_cells, file.path)
    return RowPieces(file.path, partial(_pieces, file, options, names=names, kept=kept))


def _pieces(
    file: ColumnFile, options: ColumnOptions, num_rows: int, *, names: Sequence[str], kept: Sequence[str]
) -> Iterator[Piece]:
    """Yields the pieces. Raises DataError for a cell that can't be used, or if there are no rows."""
    start = 0
    types = file.kept_types(kept)
    for batches in _gathered(file.stored_batches(names, kept), num_rows):
        table = _table(file, batches, names=names, options=options, start=start)
        cells = {name: _cells(file, name, [batch.column(name) for batch in batches], types=types) for name in kept}
        types = types or {name: column.type for name, column in cells.items()}
        yield Piece(table, cells)
        start += len(table.target)
    check_num_rows(file.path, start, least=options.min_rows)


def _cells(
    file: ColumnFile, name: str, blocks: Sequence[pa.Array], *, types: Mapping[str, pa.DataType]
) -> pa.ChunkedArray:
    """Returns cells as they are stored, without dictionaries, whose entries may differ from block to block.

    Args:
        file: the rows.
        name: the column.
        blocks: its cells, whose types may differ if they are of several files.
        types: of columns, by name; those of the first block for others.

    Raises:
        DataError: a cell can't be of the column's type.
    """
    plain = [decoded(block) if pa.types.is_dictionary(block.type) else block for block in blocks]
    type = types.get(name, plain[0].type)
    try:
        return pa.chunked_array([block if block.type == type else block.cast(type) for block in plain], type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{file.path}, column {name!r}: can't be kept as {type} of all files: {error}") from None


def _gathered(batches: Iterator[pa.RecordBatch], num_rows: int) -> Iterator[list[pa.RecordBatch]]:
    """Yields batches that have `num_rows` rows together, the last ones fewer."""
    gathered: list[pa.RecordBatch] = []
    missing = num_rows
    for batch in batches:
        while len(batch) >= missing:
            yield [*gathered, batch.slice(0, missing)]
            batch, gathered, missing = batch.slice(missing), [], num_rows
        if len(batch):
            gathered.append(batch)
            missing -= len(batch)
    if gathered:
        yield gathered


def _table(
    file: ColumnFile, batches: Sequence[pa.RecordBatch], *, names: Sequence[str], options: ColumnOptions, start: int
) -> Table:
    """Returns the rows of some batches, the first of which is the file's row `start`."""
    trained = options.trained
    assert trained is not None
    columns: dict[str, Any] = {}
    for name in names:
        cells = [batch.column(name) for batch in batches]
        column = file.converted(name, cells, as_text=name in trained.texts, first_row=start)
        if isinstance(column, LazyTexts):
            columns[name] = column.without(frozenset(options.missing_texts(name)))
        elif isinstance(column, TextColumn) and name in trained.texts:
            columns[name] = column.array(options.missing_texts(name))
        elif isinstance(column, TextColumn):
            columns[name] = _numbers(file, name, column)
        else:
            columns[name] = file.check_finite(name, column, first_row=start) if column.ndim == 1 else column
    return Table(
        columns,
        np.zeros(sum(map(len, batches))),
        "",
        "regression",
        file.path,
        locate=lambda row, name: file.find(start + row, name),
        first_row=start,
    )


def _numbers(file: ColumnFile, name: str, text: TextColumn) -> np.ndarray | None:
    """Returns the cells of a column that the run knows as numbers. Raises DataError if they aren't."""
    try:
        return file.numbers(name, text, require=True)
    except DataError:
        # the whole column knows the place of the cell, and how many there are
        whole = file.read([name], [name])[1][name]
        file.numbers(name, whole, require=True)
        raise
