"""Calls the data set that the config's `data` names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tfrun.config.catalog import Catalog
from tfrun.config.settings import DataSettings
from tfrun.data.store import Stores
from tfrun.data.table import Table, TrainedColumns
from tfrun.data.table_checks import check_table
from tfrun.errors import DataError, near_miss


@dataclass(frozen=True)
class DataSet:
    """A data set, and what the config says of it.

    Attributes:
        data: the config's `data`.
        component: returns a Table.
        params: the arguments that the config has.
        accepted: the names of the component's parameters.
        kinds: column -> the name of its kind, of those that are known: the config's, or all of a trained run.
    """

    data: DataSettings
    component: Callable[..., Table]
    params: Mapping[str, Any]
    accepted: Collection[str]
    kinds: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, data: DataSettings, catalog: Catalog) -> DataSet:
        """Returns the data set of a config, imported but not called."""
        component = catalog.get("dataset", data.name, where="data.name")
        read = component.load()
        params = {param.name: data.params[param.name] for param in component.params if param.name in data.params}
        kinds = {column: kind.name for column, kind in data.column_kinds.items()}
        return cls(data, read, params, inspect.signature(read).parameters.keys(), kinds)

    def read(
        self, *, path: str | list[str] | None = None, trained: TrainedColumns | None = None, rows_only: bool = False
    ) -> Table:
        """Returns the data set's rows, checked, with the cells of the column that splits them.

        Args:
            path: a file in place of the config's data.path.
            trained: what each column and target is; None lets the data set find it out.
            rows_only: whether neither targets nor splits are needed.

        Raises:
            DataError: the rows can't be read, or can't be used.
        """
        column = None if rows_only else self.data.split.column
        params = self.params if path is None else {**self.params, "path": path}
        if column is None:
            return self._call(params, trained=trained, rows_only=rows_only)
        if column in _names(self.data.params.get("target")):
            raise DataError(f"data.split.column: is the target. Received: {column!r}")
        is_input = column in (self.data.params.get("columns") or ())
        if not {"exclude", "trained_columns"} <= set(self.accepted):
            return _with_split_cells(self._call(params, trained=trained), column, is_input=is_input)
        # read as text and by itself, since what a column of names is isn't to be guessed, and their number is no matter
        alone = TrainedColumns(numbers=(), texts=(column,), targets=(), option="split.column")
        split_cells = self._call(params, trained=alone, rows_only=True).columns[column]
        if not is_input:
            params = {**params, "exclude": [*(params.get("exclude") or ()), column]}
        return replace(self._call(params, trained=trained), split_cells=split_cells)

    def _call(self, params: Mapping[str, Any], *, trained: TrainedColumns | None, rows_only: bool = False) -> Table:
        offered = {
            "text_encodings": self.data.text_encodings,
            "column_kinds": self.kinds,
            "rows_only": rows_only,
            "trained_columns": trained,
            "stores": Stores.of(self.data.cache),
        }
        filled_in = {name: value for name, value in offered.items() if name in self.accepted}
        return check_table(self.component(**params, **filled_in), self.data.name)


def _with_split_cells(table: Table, name: str, *, is_input: bool) -> Table:
    """Returns a table with one of its columns as what its rows are split by. Raises DataError."""
    if name not in table.columns:
        known = ", ".join(table.columns)
        raise DataError(
            f"{table.source}: data.split.column: no such column. Received: {name!r}. Known: {known}."
            f"{near_miss(name, table.columns)}"
        )
    cells = table.columns[name]
    if cells.ndim != 1:
        raise DataError(f"{table.source}: data.split.column: must be a column of numbers or texts. Received: {name!r}")
    columns = {other: column for other, column in table.columns.items() if is_input or other != name}
    if not columns:
        raise DataError(f"{table.source}: data.split.column: is the only column to learn from. Received: {name!r}")
    return replace(table, columns=columns, split_cells=cells)


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())
