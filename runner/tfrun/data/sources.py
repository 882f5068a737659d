"""Reads the table that the config's `data` names."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np

from tfrun.config.catalog import Catalog
from tfrun.config.settings import DataSettings
from tfrun.data.table import Table
from tfrun.errors import DataError, near_miss


def load_table(data: DataSettings, catalog: Catalog, *, rows_only: bool = False) -> Table:
    """Reads a data set, with the rows' weights if the config names a column of them.

    Args:
        data: the config's `data`.
        catalog: the components.
        rows_only: whether the targets are not needed: a data set that can do so reads rows without them.

    Raises:
        DataError: the data can't be read.
    """
    component = catalog.get("dataset", data.name, where="data.name")
    read = component.load()
    params = {param.name: data.params[param.name] for param in component.params if param.name in data.params}
    offered = {"text_encodings": data.text_encodings, "rows_only": rows_only}
    accepted = inspect.signature(read).parameters
    table = read(**params, **{name: value for name, value in offered.items() if name in accepted})
    if rows_only or data.sample_weight is None:
        return table
    return _with_weights(table, data.sample_weight)


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
    is_wrong = ~(np.isfinite(weights) & (weights >= 0))
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        line = f"{table.source}:{table.first_line + row}"
        raise DataError(f"{line}, column {name!r}: a weight must be >= 0. Received: {weights[row]:g}")
    columns = {other: column for other, column in table.columns.items() if other != name}
    return replace(table, columns=columns, weights=weights.astype("float64"))
