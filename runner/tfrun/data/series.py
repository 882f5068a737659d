"""Sorts a table's rows into series: one after the other, each from its oldest to its newest row."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tfrun.config.data_settings import WindowSettings
from tfrun.config.date_formats import DateFormat
from tfrun.data.splitting.times import as_numbers
from tfrun.data.table import Series, Table
from tfrun.errors import DataError, as_typed

GAP = 1.5  # a step of this many usual ones is a gap; months, of 28 to 31 days, are steps of about one

log = logging.getLogger(__name__)


def as_series(
    table: Table,
    window: WindowSettings,
    *,
    targets: Sequence[str] | None = None,
    date_format: DateFormat | None = None,
) -> Table:
    """Returns the rows sorted into series, with the targets' own past as the first columns.

    Args:
        table: the raw rows; `keys` has the columns `by` and `time`, if the window names them. Its columns are released.
        window: names these columns.
        targets: what the targets' past is called, the main one's first; None for their own names.
        date_format: how times are written, if they are neither numbers nor ISO dates.

    Raises:
        DataError: a target isn't a number, a cell of `by` or `time` is empty or can't be sorted, or two rows of a
            series have the same time.
    """
    _refuse_classes(table)
    num_rows = len(table.target)
    codes, names = _codes(table, window.by)
    if window.time is None:
        order = np.argsort(codes, kind="stable")
    else:
        numbers = as_numbers(
            np.asarray(table.keys[window.time]),
            find=lambda row: table.find(row, window.time)[0],
            where=f"column {window.time!r} (data.window.time)",
            date_format=date_format,
        )
        order = np.lexsort((numbers, codes))
        _refuse_twins(table, window, order=order, keys=(codes, numbers))
        _tell_of_gaps(table, window, codes=codes[order], numbers=numbers[order])
    if not np.array_equal(order, np.arange(num_rows)):
        table = table.select(order)
    bounds = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(names)))]).astype(np.int64)
    times = None if window.time is None else np.asarray(table.keys[window.time])
    past = {
        name: target.values.astype("float64")
        for name, target in zip(targets or table.targets, table.targets.values(), strict=True)
    }
    series = Series(bounds, names, window.by, window.time, times)
    return replace(table, columns={**past, **table.columns}, keys={}, series=series)


def _refuse_classes(table: Table) -> None:
    for name, target in table.targets.items():
        if target.task != "regression":
            raise DataError(
                f"{table.source}: data.window: forecasts numbers, and the target {name!r} has classes. "
                "If they are numbers: data.task=regression"
            )


def _codes(table: Table, by: str | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the number of each row's series, (N,) int64, and the names of the series, sorted."""
    if by is None:
        return np.zeros(len(table.target), np.int64), ("",)
    cells = np.asarray(table.keys[by])
    is_text = cells.dtype == object
    is_empty = cells == "" if is_text else np.isnan(cells)
    if is_empty.any():
        row = int(np.argmax(is_empty))
        raise DataError(
            f"{table.find(row)[0]}, column {by!r}: is empty, so nobody knows the row's series (data.window.by)"
        )
    values, codes = np.unique(cells.astype(str) if is_text else cells, return_inverse=True)
    return codes.reshape(-1), tuple(str(value) if is_text else f"{value:.17g}" for value in values.tolist())


def _refuse_twins(
    table: Table, window: WindowSettings, *, order: np.ndarray, keys: tuple[np.ndarray, np.ndarray]
) -> None:
    """Raises DataError if two rows of a series have the same time.

    Args:
        table: the rows, not sorted.
        window: names the columns.
        order: sorts the rows.
        keys: the series and the time of each row, (N,) each.
    """
    is_same = np.logical_and.reduce([key[order[1:]] == key[order[:-1]] for key in keys])
    if not is_same.any():
        return
    first, second = order[int(np.argmax(is_same)) :][:2].tolist()
    assert window.time is not None
    advice = (
        f"Leave one of them out, or sum them up ({int(is_same.sum())} such rows)"
        if window.by
        else f"If the file has several series, name their column: {as_typed('data.window.by', '<column>')}"
    )
    raise DataError(
        f"{table.find(second)[0]}, column {window.time!r}: a series can have one row for each time. "
        f"Received: {str(table.keys[window.time][second])!r}, as in {table.find(first)[0]}. {advice}"
    )


def _tell_of_gaps(table: Table, window: WindowSettings, *, codes: np.ndarray, numbers: np.ndarray) -> None:
    """Warns if series have steps that are longer than their usual one; rows are sorted."""
    steps = np.diff(numbers)[codes[1:] == codes[:-1]]
    if len(steps) == 0:
        return
    usual = float(np.median(steps))
    gaps = int((steps > GAP * usual).sum())
    if gaps:
        log.warning(
            "%s: column %r: %d of %d steps between rows are more than %g times the usual one. Windows span such "
            "gaps as if there were none; rows that are missing can be filled in the file",
            table.source,
            window.time,
            gaps,
            len(steps),
            GAP,
        )
