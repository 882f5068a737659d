"""Calls the data set that the config's `data` names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tfrun.config.catalog import Catalog
from tfrun.config.data_settings import DataSettings
from tfrun.data.pieces import Keep, RowPieces, cells_to_keep, cut
from tfrun.data.store import Stores
from tfrun.data.table import Table, TrainedColumns
from tfrun.data.table_checks import check_table
from tfrun.errors import DataError, near_miss
from tfrun.protocols import DatasetOffer

if TYPE_CHECKING:
    from tfrun.data.adapters import ReturnedRows


@dataclass(frozen=True)
class DataSet:
    """A data set, and what the config says of it.

    Attributes:
        data: the config's `data`.
        component: returns a Table, or rows that one can be made of.
        params: the arguments that the config has.
        accepted: the names of the component's parameters.
        kinds: column -> the name of its kind, of those that are known: the config's, or all of a trained run.
        origin: the file and the line of the component, for messages.
    """

    data: DataSettings
    component: Callable[..., Any]
    params: Mapping[str, Any]
    accepted: Collection[str]
    kinds: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""

    @classmethod
    def of(cls, data: DataSettings, catalog: Catalog) -> DataSet:
        """Returns the data set of a config, imported but not called."""
        component = catalog.get("dataset", data.name, where="data.name")
        read = component.load()
        params = {param.name: data.params[param.name] for param in component.params if param.name in data.params}
        kinds = {column: kind.name for column, kind in data.column_kinds.items()}
        return cls(data, read, params, inspect.signature(read).parameters.keys(), kinds, component.origin)

    @classmethod
    def over(cls, rows: Any, data: DataSettings) -> DataSet:
        """Returns rows that Python code has, as a data set.

        Args:
            rows: a frame, a mapping of columns, or what else a data set may return.
            data: the config's, which says what the columns mean.
        """
        from tfrun.data.adapters.returned import COLUMN_PARAMS  # loads Arrow

        params = {name: data.params[name] for name in COLUMN_PARAMS if name in data.params}
        kinds = {column: kind.name for column, kind in data.column_kinds.items()}
        return cls(replace(data, name=""), lambda **_: rows, params, (), kinds)

    def read(
        self,
        *,
        path: str | list[str] | None = None,
        trained: TrainedColumns | None = None,
        rows_only: bool = False,
        has_splits: bool = True,
    ) -> Table:
        """Returns the data set's rows, checked, with the cells of the columns that split them or make them series.

        Args:
            path: a file in place of the config's data.path.
            trained: what each column and target is; None lets the data set find it out.
            rows_only: whether neither targets nor splits are needed.
            has_splits: whether the column that splits the rows is needed, if there is one.

        Raises:
            DataError: the rows can't be read, or can't be used.
        """
        split = self.data.split.column if has_splits and not rows_only else None
        keys = {} if rows_only else self._keys_of_series()
        apart = ({} if split is None else {split: "split.column"}) | keys
        params = self.params if path is None else {**self.params, "path": path}
        if not apart:
            return self._call(params, trained=trained, rows_only=rows_only)
        for name, option in apart.items():
            if name in _names(self.data.params.get("target")):
                raise DataError(f"data.{option}: is the target. Received: {name!r}")
        no_inputs = [name for name in apart if name not in (self.data.params.get("columns") or ())]
        if {"exclude", "trained_columns"} <= set(self.accepted):
            cells = {name: self._texts(params, name, option=option) for name, option in apart.items()}
            if no_inputs:
                params = {**params, "exclude": [*(params.get("exclude") or ()), *no_inputs]}
            table = self._call(params, trained=trained)
        elif not isinstance(value := self._value(params, trained=trained), Table):
            cells = {name: value.texts(name, option=option) for name, option in apart.items()}
            table = self._checked(value.table(exclude=no_inputs))
        else:
            table = self._checked(value)
            cells = {name: _column(table, name, option=option) for name, option in apart.items()}
            table = replace(table, columns={name: c for name, c in table.columns.items() if name not in no_inputs})
            if not table.columns and self.data.window is None:
                raise DataError(
                    f"{table.source}: data.split.column: is the only column to learn from. Received: {split!r}"
                )
        return replace(
            table, split_cells=None if split is None else cells[split], keys={name: cells[name] for name in keys}
        )

    def pieces(self, trained: TrainedColumns, keep: Keep) -> RowPieces:
        """Returns the data set's rows without targets, checked, to be read a piece at a time.

        A data set that can't read them so reads them at once, and they are cut.

        Args:
            trained: what each column is.
            keep: the columns to be kept.

        Raises:
            ConfigError: there is no such column to keep.
            DataError: the rows can't be read, or can't be used. Reading the pieces raises it too.
        """
        value = self._value_or_pieces(self.params, trained=trained, rows_only=True, keep=keep)
        if isinstance(value, Table):
            value = cut(self._checked(value), cells_to_keep(value, keep))
        elif not isinstance(value, RowPieces):
            value = value.pieces(keep)
        return value.map(self._checked)

    def _keys_of_series(self) -> dict[str, str]:
        """Returns the columns that make the rows series, with the config keys that name them."""
        window = self.data.window
        named = [] if window is None else [(window.by, "window.by"), (window.time, "window.time")]
        return {name: option for name, option in named if name is not None}

    def _texts(self, params: Mapping[str, Any], name: str, *, option: str) -> Any:
        """Returns a column as texts, read by itself: what it is isn't to be guessed, and its values may all differ."""
        alone = TrainedColumns(numbers=(), texts=(name,), targets=(), option=option)
        return self._call(params, trained=alone, rows_only=True).columns[name]

    def _call(self, params: Mapping[str, Any], *, trained: TrainedColumns | None, rows_only: bool = False) -> Table:
        value = self._value(params, trained=trained, rows_only=rows_only)
        return self._checked(value if isinstance(value, Table) else value.table())

    def _value(
        self, params: Mapping[str, Any], *, trained: TrainedColumns | None, rows_only: bool = False
    ) -> Table | ReturnedRows:
        """Returns what the component returns: a table, or rows that one can be made of."""
        value = self._value_or_pieces(params, trained=trained, rows_only=rows_only)
        assert not isinstance(value, RowPieces)
        return value

    def _value_or_pieces(
        self,
        params: Mapping[str, Any],
        *,
        trained: TrainedColumns | None,
        rows_only: bool = False,
        keep: Keep | None = None,
    ) -> Table | ReturnedRows | RowPieces:
        """Returns the same, or, if there is `keep` and the component can read pieces, these."""
        offered = {
            "text_encodings": self.data.text_encodings,
            "column_kinds": self.kinds,
            "rows_only": rows_only,
            "trained_columns": trained,
            "stores": Stores.of(self.data.cache),
            "in_pieces": keep,
        }
        filled_in = {name: value for name, value in offered.items() if name in self.accepted}
        value = self.component(**params, **filled_in)
        if isinstance(value, Table | RowPieces):
            return value
        from tfrun.data.adapters import Call, ReturnedRows  # loads Arrow, which a table doesn't need

        call = Call(
            self.data.name,
            self.origin,
            params,
            task=DatasetOffer.of(self.component).task,
            kinds=self.kinds,
            text_encodings=self.data.text_encodings,
            rows_only=rows_only,
            trained=trained,
        )
        return ReturnedRows.of(value, call)

    def _checked(self, table: Table) -> Table:
        return check_table(table, self.data.name, may_lack_columns=self.data.window is not None)


def _column(table: Table, name: str, *, option: str) -> Any:
    """Returns the cells of a column. Raises DataError if there is none, or if they are arrays."""
    where = f"{table.source}: data.{option}"
    if name not in table.columns:
        known = ", ".join(table.columns)
        raise DataError(f"{where}: no such column. Received: {name!r}. Known: {known}.{near_miss(name, table.columns)}")
    cells = table.columns[name]
    if cells.ndim != 1:
        raise DataError(f"{where}: must be a column of numbers or texts. Received: {name!r}")
    return cells


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())
