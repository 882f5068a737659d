"""Checks of the table that a data set returns, the same for all data sets, those of plugins included."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

import numpy as np

from tfrun.data.arrays import StoredArray
from tfrun.data.lazy_texts import LazyTexts
from tfrun.data.table import Table, Target
from tfrun.errors import DataError

NUMBERS = "biuf"  # kinds of NumPy's types

log = logging.getLogger(__name__)


def check_table(table: Any, name: str, *, may_lack_columns: bool = False) -> Table:
    """Returns the table.

    Args:
        table: what the data set returned.
        name: of the data set, for messages.
        may_lack_columns: whether there is something else to learn from.

    Raises:
        DataError: it is no table, or its columns, targets and weights don't fit together or can't be used.
    """
    if not isinstance(table, Table):
        raise DataError(f"data={name}: must return a tfrun.table.Table. Received: {type(table).__name__}")
    if not table.columns and not may_lack_columns:
        raise DataError(f"{table.source}: there are no columns to learn from except the target {table.target_name!r}")
    for target_name, target in table.targets.items():
        _check_target(table, target_name, target)
    for column_name, column in table.columns.items():
        _check_column(table, column_name, column)
    if table.weights is not None:
        check_weights(table, "the weights", table.weights)
    _check_given(table)
    return table


def _check_given(table: Table) -> None:
    """Raises DataError if the splits that a source gives aren't different rows of the table."""
    counts = np.zeros(len(table.target), np.int64)
    for name, rows in (table.given or {}).items():
        where, numbers = f"{table.source}: the rows of split {name!r}", np.asarray(rows)
        if name not in ("train", "val", "test"):
            raise DataError(f"{where}: must be of train, val or test")
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu" and len(numbers):
            raise DataError(f"{where}: must be whole numbers (R,). Received: {_described(rows)}")
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(counts):
            raise DataError(
                f"{where}: must be from 0 to {len(counts) - 1}. Received: {numbers.min()} to {numbers.max()}"
            )
        np.add.at(counts, numbers.astype(np.int64), 1)
    if (counts > 1).any():
        raise DataError(f"{table.find(int(np.argmax(counts > 1)))[0]}: the row is in two of the table's splits")


def _check_target(table: Table, name: str, target: Target) -> None:
    where, values, task = f"{table.source}: target {name!r}", target.values, target.task
    if task not in ("regression", "classification"):
        raise DataError(f"{where}: its task must be regression or classification. Received: {task!r}")
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        raise DataError(f"{where}: must be an array (N,). Received: {_described(values)}")
    if len(values) != len(table.target):
        raise DataError(f"{where}: has {len(values)} values, and {table.target_name!r} has {len(table.target)}")
    is_texts = values.dtype == object and task == "classification"
    if not is_texts and values.dtype.kind not in NUMBERS:
        kind = "numbers" if task == "regression" else "an object array of str, or numbers"
        raise DataError(f"{where}: {task} needs {kind}. Received: {_described(values)}")
    if is_texts:
        _check_texts(where, values)
    elif np.isinf(values).any():
        row = int(np.argmax(np.isinf(values)))
        raise DataError(f"{table.find(row)[0]}: target {name!r} isn't finite. Received: {values[row]}")


def _check_column(table: Table, name: str, column: Any) -> None:
    where = f"{table.source}: column {name!r}"
    if not isinstance(column, np.ndarray | StoredArray | LazyTexts) or column.ndim == 0:
        raise DataError(f"{where}: must be an array (N,) or (N, ...). Received: {_described(column)}")
    if len(column) != len(table.target):
        raise DataError(f"{where}: has {len(column)} rows, and the target has {len(table.target)}")
    if isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype == object:
        _check_texts(where, column)
    elif isinstance(column, LazyTexts):
        pass  # it holds nothing else
    elif column.dtype.kind not in NUMBERS:
        raise DataError(f"{where}: must be numbers, or an object array of str. Received: {_described(column)}")
    elif math.prod(column.shape[1:]) == 0:
        raise DataError(f"{where}: its rows have no values. Received: {_described(column)}")
    elif isinstance(column, np.ndarray) and column.ndim == 1 and np.isinf(column).any():
        # arrays of several values are checked when all of their rows are read
        row = int(np.argmax(np.isinf(column)))
        raise DataError(f"{table.find(row)[0]}, column {name!r}: not finite. Received: {column[row]}")


def _check_texts(where: str, values: np.ndarray) -> None:
    others = set(map(type, values.tolist())) - {str}
    if others:
        row = next(row for row, value in enumerate(values) if type(value) is not str)
        raise DataError(f"{where}: every value must be a str. Received: {values[row]!r} in row {row}")


def check_weights(table: Table, name: str, weights: Any) -> None:
    """Raises DataError if weights, one for each row, aren't finite numbers >= 0; `name` is what they are called."""
    where = f"{table.source}: {name}"
    if not isinstance(weights, np.ndarray) or weights.ndim != 1 or weights.dtype.kind not in NUMBERS:
        raise DataError(f"{where}: must be numbers (N,). Received: {_described(weights)}")
    if len(weights) != len(table.target):
        raise DataError(f"{where}: {len(weights)} of them, and {len(table.target)} targets")
    is_wrong = ~(np.isfinite(weights) & (weights >= 0))
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        raise DataError(f"{table.find(row)[0]}, {name}: a weight must be >= 0. Received: {weights[row]:g}")


def without_missing_targets(table: Table, action: str) -> Table:
    """Returns the rows that have all of their targets. Their columns are released from `table`.

    Args:
        table: the raw rows.
        action: what to do about other rows, data.missing_target: "error" or "drop".

    Raises:
        DataError: a row has no target and the action is "error", or no row has one.
    """
    is_missing = {name: _is_missing(target.values) for name, target in table.targets.items()}
    without = np.logical_or.reduce(list(is_missing.values()))
    count = int(without.sum())
    if count == 0:
        return table
    if action == "error" or count == len(without):
        row = int(np.argmax(without))
        name = next(name for name, missing in is_missing.items() if missing[row])
        where, cell = table.find(row, name)
        value = table.targets[name].values[row] if cell is None else cell
        is_class = f" If {cell!r} is a class: data.missing=null." if cell and table.task == "classification" else ""
        which = "all rows" if count == len(without) else f"{count} such {'row' if count == 1 else 'rows'}"
        leave_out = "" if count == len(without) else " To leave them out: data.missing_target=drop."
        raise DataError(
            f"{where}, column {name!r}: the target is empty. Received: {str(value)!r} ({which}).{leave_out}{is_class}"
        )
    log.warning("%s: %d of %d rows have no target and are left out", table.source, count, len(without))
    return replace(table.select(np.flatnonzero(~without)), rows_left_out=count)


def _is_missing(values: np.ndarray) -> np.ndarray:
    """Returns whether each value of a target is missing, (N,) bool."""
    if values.dtype == object:
        return np.fromiter((value == "" for value in values), bool, len(values))
    return np.isnan(values)


def _described(value: Any) -> str:
    """Returns an array's type and shape, or another value's type."""
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{value.dtype} {tuple(shape)}"
