"""Reads the table that the config's `data` names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tfrun.config.catalog import Catalog
from tfrun.config.column_kinds import INTEGER_KINDS, TEXT_KINDS, ColumnKind
from tfrun.config.data_settings import DataSettings, WindowSettings
from tfrun.data.cell_kinds import CellKind, as_kind
from tfrun.data.data_set import DataSet
from tfrun.data.given_splits import with_given_splits
from tfrun.data.integer_texts import IntegerTexts, as_integers
from tfrun.data.kinds import ArrayColumn, Column, RawColumn, check_cells
from tfrun.data.pieces import Keep, RowPieces
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.series import as_series
from tfrun.data.splitting.times import format_of_times
from tfrun.data.table import Table, Target
from tfrun.data.table_checks import check_weights, without_missing_targets
from tfrun.data.targets import FittedTarget
from tfrun.data.windows import Window
from tfrun.errors import ConfigError, DataError, near_miss


def load_table(
    data: DataSettings,
    catalog: Catalog,
    *,
    rows_only: bool = False,
    fitted: Preprocessing | None = None,
    rows: Any = None,
) -> Table:
    """Reads a data set, with the rows' weights and what splits them, if the config names columns or files of these.

    Args:
        data: the config's `data`.
        catalog: the components.
        rows_only: whether the targets are not needed: a data set that can do so reads rows without them.
        fitted: the preprocessing of the run that the rows are for, if any: what each column and target is.
        rows: what Python code has in place of the config's data set, see `DataSet.over`; None reads the data set.

    Raises:
        DataError: the data can't be read, the table can't be used, or a column isn't what it was in training.
    """
    data_set = DataSet.of(data, catalog) if rows is None else DataSet.over(rows, data)
    weight = None if rows_only else data.sample_weight
    trained = None if fitted is None else fitted.trained_columns(weight)
    if fitted is not None:
        data_set = replace(data_set, kinds={column.name: column.kind.name for column in fitted.columns})
    # the past of a series' target is what its windows are predicted from
    needs_targets = not rows_only or data.window is not None
    table = data_set.read(trained=trained, rows_only=not needs_targets, has_splits=not rows_only)
    if not rows_only:
        table = with_given_splits(table, data_set)
    if needs_targets:
        table = without_missing_targets(table, data.missing_target)
    table = _as_series(table, data, fitted)
    if weight is not None:
        table = _with_weights(table, weight)
    if fitted is None:
        # a kind of the column that splits or orders the rows, which may be no input, says how its times are written
        return _with_kinds(table, {name: kind for name, kind in data.kinds.items() if _is_input(table, data, name)})
    return _as_in_training(_with_texts(table, data.kinds), fitted, rows_only=not needs_targets)


def load_pieces(
    data: DataSettings, catalog: Catalog, *, fitted: Preprocessing, keep: Keep, rows: Any = None
) -> RowPieces:
    """Returns rows to predict of a data set, to be read a piece at a time; not for windows of series.

    Args:
        data: the config's `data`.
        catalog: the components.
        fitted: the preprocessing of the run that the rows are for.
        keep: the columns of the source that are wanted as they are.
        rows: as for `load_table`.

    Raises:
        ConfigError: there is no such column to keep.
        DataError: the data can't be read, or a column isn't what it was in training. Reading the pieces raises it too.
    """
    kinds = {column.name: column.kind.name for column in fitted.columns}
    data_set = DataSet.of(data, catalog) if rows is None else DataSet.over(rows, data)
    pieces = replace(data_set, kinds=kinds).pieces(fitted.trained_columns(None), keep)
    return pieces.map(lambda table: _as_in_training(_with_texts(table, data.kinds), fitted, rows_only=True))


def _as_series(table: Table, data: DataSettings, fitted: Preprocessing | None) -> Table:
    """Returns the table as series, if the config has windows of them."""
    if data.window is None:
        return table
    past = None if fitted is None else _window_of_run(fitted, data.window).targets
    date_format = None if data.window.time is None else format_of_times(data, data.window.time)
    return as_series(table, data.window, targets=past, date_format=date_format)


def _is_input(table: Table, data: DataSettings, name: str) -> bool:
    """Returns whether a column may be an input; those that don't exist are reported later."""
    times = (data.split.column, None if data.window is None else data.window.time)
    return name in table.columns or name not in times


def _with_kinds(table: Table, kinds: Mapping[str, ColumnKind]) -> Table:
    """Returns a table whose columns can be of the kinds that the config names. Raises DataError if one can't."""
    for name in kinds:
        if name not in table.columns:
            known = ", ".join(table.columns)
            raise DataError(
                f"{table.source}: data.kinds: no such column. Received: {name!r}. Known: {known}."
                f"{near_miss(name, table.columns)}"
            )
    table = _with_texts(table, kinds)
    for name, kind in kinds.items():
        check_cells(RawColumn(name, table.columns[name], np.arange(0), table.source, table.find), kind)
    return table


def _with_texts(table: Table, kinds: Mapping[str, ColumnKind]) -> Table:
    """Returns a table in which columns of numbers are texts if their kind needs texts, as in a CSV file."""
    texts = {
        name: _as_texts(cells, kinds[name])
        for name, cells in table.columns.items()
        if isinstance(kinds.get(name), TEXT_KINDS) and cells.ndim == 1 and cells.dtype != object
    }
    return replace(table, columns=table.columns | texts) if texts else table


def _as_texts(numbers: Any, kind: ColumnKind) -> np.ndarray | IntegerTexts:
    """Returns numbers as texts, (N,) object of str: whole ones without a fraction, and "" for nan."""
    integers = as_integers(numbers) if kind.name in INTEGER_KINDS else None
    if integers is not None:
        return integers
    different, places = np.unique(numbers[:], return_inverse=True)
    texts = [str(int(x)) if float(x).is_integer() else "" if x != x else repr(float(x)) for x in different.tolist()]
    return np.array(texts, dtype=object)[places]


def _window_of_run(fitted: Preprocessing, settings: WindowSettings) -> Window:
    """Returns the windows that a run was trained on. Raises ConfigError if the config describes others."""
    window = fitted.window
    if window is None or (window.length, window.horizon) != (settings.length, settings.horizon):
        trained = "none" if window is None else f"length {window.length}, horizon {window.horizon}"
        raise ConfigError(
            "data.window: a trained run keeps its length and horizon. "
            f"Received: length {settings.length}, horizon {settings.horizon}. In training: {trained}"
        )
    return window


def _as_in_training(table: Table, fitted: Preprocessing, *, rows_only: bool) -> Table:
    """Returns a table whose columns and labels are those of a trained run, whatever the data set has made of them.

    Raises:
        DataError: a column or a target isn't what it was in training.
    """
    known = {column.name: column for column in fitted.columns}
    columns = {name: _cells(table, known[name]) for name in table.columns if name in known}
    if rows_only:
        return replace(table, columns=columns)
    if len(table.targets) != len(fitted.targets):
        names = ", ".join(table.targets)
        raise DataError(f"{table.source}: the run has {len(fitted.targets)} targets. Received: {names}")
    main, *others = (
        _target(target, known, where=f"{table.source}: target {name!r}")
        for (name, target), known in zip(table.targets.items(), fitted.targets.values(), strict=True)
    )
    return replace(
        table,
        columns=columns,
        target=main.values,
        task=main.task,
        others=dict(zip(table.others, others, strict=True)),
    )


def _cells(table: Table, column: Column) -> Any:
    """Returns the cells of a column, of the kind that it was in training. Raises DataError."""
    kind = CellKind(column.is_text, column.shape if isinstance(column, ArrayColumn) else None)
    return as_kind(table, column.name, kind, then="in training")


def _target(target: Target, fitted: FittedTarget, *, where: str) -> Target:
    """Returns a target as it was in training, its labels as the run's classes are spelt."""
    if fitted.task == "classification":
        return Target(fitted.spell(target.values), fitted.task)
    if target.values.dtype == object:
        raise DataError(f"{where} must hold numbers, as it did in training. Received: {target.values[0]!r}")
    return Target(target.values, fitted.task)


def _with_weights(table: Table, name: str) -> Table:
    """Returns a table with one of its number columns as its rows' weights. Raises DataError."""
    where = f"{table.source}: data.sample_weight"
    if name not in table.columns:
        known = ", ".join(table.columns)
        hint = near_miss(name, table.columns)
        raise DataError(f"{where}: no such column. Received: {name!r}. Known: {known}.{hint}")
    weights = np.asarray(table.columns[name])
    if weights.dtype == object or weights.ndim != 1:
        raise DataError(f"{where}: must be a column of numbers. Received: {name!r}")
    check_weights(table, f"column {name!r}", weights)
    columns = {other: column for other, column in table.columns.items() if other != name}
    return replace(table, columns=columns, weights=weights.astype("float64"))
