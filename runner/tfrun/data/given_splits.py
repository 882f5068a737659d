"""Reads the splits that lie in files of their own, and joins them with the rows to train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np

from tfrun.data.arrays import join
from tfrun.data.bags import join_columns
from tfrun.data.cell_kinds import CellKind, as_kind
from tfrun.data.data_set import DataSet
from tfrun.data.labels import label
from tfrun.data.lazy_texts import LazyTexts
from tfrun.data.table import Table, Target, TrainedColumns
from tfrun.data.targets import FittedTarget
from tfrun.errors import DataError

PATH_KEYS = {"val": "data.validation_path", "test": "data.test_path"}


def with_given_splits(table: Table, data_set: DataSet) -> Table:
    """Returns a table with the rows of data.validation_path and data.test_path behind its own.

    The rows to train on decide what columns and targets are; those of the other files are read as the same.

    Args:
        table: the rows of data.path.
        data_set: reads the files.

    Raises:
        DataError: a file can't be read, or its columns and targets aren't those of the table.
    """
    data = data_set.data
    paths = {"val": data.validation_path, "test": data.test_path}  # by the name of the split
    given = {split: path for split, path in paths.items() if path is not None}
    if not given:
        return table
    trained = _trained_columns(table, weight=data.sample_weight)
    parts = [_like(table, _read(data_set, path, trained=trained, split=split)) for split, path in given.items()]
    starts = list(accumulate((len(part.target) for part in parts), initial=len(table.target)))
    rows = {split: np.arange(start, end) for split, start, end in zip(given, starts, starts[1:], strict=False)}
    return replace(_joined([table, *parts]), given={**(table.given or {}), **rows})


def _read(data_set: DataSet, path: str | list[str], *, trained: TrainedColumns, split: str) -> Table:
    """Returns the rows of a file; an error about data.path is one about the key that names the file."""
    try:
        return data_set.read(path=path, trained=trained)
    except DataError as error:
        raise DataError(str(error).replace("data.path:", f"{PATH_KEYS[split]}:")) from error


def _trained_columns(table: Table, *, weight: str | None) -> TrainedColumns:
    """Returns what a data set gets to read further rows of a table; `weight` is the column of weights."""
    flat = {name: column for name, column in table.columns.items() if column.ndim == 1 and name != weight}
    texts = tuple(name for name, column in flat.items() if column.dtype == object)
    return TrainedColumns(
        numbers=tuple(name for name in flat if name not in texts),
        texts=texts,
        targets=tuple(
            tuple(_classes(target)) if target.task == "classification" else None for target in table.targets.values()
        ),
        weight=weight,
        arrays=tuple(name for name, column in table.columns.items() if column.ndim > 1),
    )


def _classes(target: Target) -> list[str]:
    return sorted({label(value) for value in set(target.values.tolist())} - {"", "nan"})


def _like(table: Table, further: Table) -> Table:
    """Returns further rows with the columns and targets of a table. Raises DataError if they aren't the same."""
    then = f"in {table.source}"
    missing = [name for name in table.columns if name not in further.columns]
    if missing:
        known = ", ".join(further.columns)
        raise DataError(f"{further.source}: lacks columns of {table.source}: {', '.join(missing)}. Received: {known}")
    if list(further.targets) != list(table.targets) or (further.weights is None) != (table.weights is None):
        names = ", ".join(further.targets)
        raise DataError(f"{further.source}: its targets and weights aren't those of {table.source}. Received: {names}")
    columns = {name: as_kind(further, name, CellKind.of(column), then=then) for name, column in table.columns.items()}
    main, *others = (
        _target(known, further.targets[name], where=f"{further.source}: target {name!r}", then=then)
        for name, known in table.targets.items()
    )
    others_by_name = dict(zip(table.others, others, strict=True))
    return replace(further, columns=columns, target=main.values, task=main.task, others=others_by_name)


def _target(known: Target, further: Target, *, where: str, then: str) -> Target:
    """Returns a target of further rows in the task of the known one, its labels spelt as the known ones are."""
    if known.task == "classification":
        labels = FittedTarget(known.task, _classes(known)).spell(further.values)
        if known.values.dtype == object and labels.dtype != object:
            labels = np.array([label(value) for value in labels.tolist()], dtype=object)
        return Target(labels, known.task)
    if further.values.dtype == object:
        raise DataError(f"{where} must hold numbers, as {then}. Received: {further.values[0]!r}")
    return Target(further.values, known.task)


def _joined(tables: Sequence[Table]) -> Table:
    """Returns the rows of several tables of the same columns and targets, one after the other."""
    first = tables[0]
    starts = list(accumulate((len(table.target) for table in tables), initial=0))

    def locate(row: int, name: str | None) -> tuple[str, str | None]:
        part = int(np.searchsorted(starts, row, side="right")) - 1
        return tables[part].find(row - starts[part], name)

    def joined(values: Sequence[Any]) -> Any:
        if any(isinstance(column, LazyTexts) for column in values):
            return join_columns(values)
        return None if values[0] is None else join(values)

    return replace(
        first,
        columns={name: joined([table.release(name) for table in tables]) for name in list(first.columns)},
        target=joined([table.target for table in tables]),
        weights=joined([table.weights for table in tables]),
        others={
            name: Target(joined([table.others[name].values for table in tables]), target.task)
            for name, target in first.others.items()
        },
        source=", ".join(table.source for table in tables),
        split_cells=joined([table.split_cells for table in tables]),
        keys={name: joined([table.keys[name] for table in tables]) for name in first.keys},
        locate=locate,
    )
