"""What a data set is before TensorFlow sees it, and what a model is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfrun.catalog import Catalog
from tfrun.errors import DataError, near_miss


@dataclass(frozen=True)
class Table:
    """Rows as they were read: nothing imputed, scaled or encoded yet.

    Attributes:
        columns: each of N rows. A number column is (N,) float64 with nan for an empty cell; a text column is (N,)
            object of str with "" for an empty cell; an array column is (N, ...) finite numbers, images for example, an
            array or a `tfrun.arrays.StoredArray`. Preparing a table empties this, so that no column is kept twice.
        target: (N,) float64 numbers, or (N,) object of str, the labels of classes.
        target_name: the target's name, for messages.
        task: "regression" or "classification".
        source: where the rows come from, for messages and for `run.json`.
        first_line: the line of row 0 in `source`, for messages.
        weights: how much each row counts, (N,) float64 >= 0, or None where all count the same.
    """

    columns: dict[str, Any]
    target: np.ndarray
    target_name: str
    task: str
    source: str
    first_line: int = 1
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class Features:
    """What a model is told about its inputs when it is built.

    Attributes:
        numbers: number column -> its inner decile boundaries on the training split, after standardizing (at most 9,
            strictly increasing). Column k of `inputs["numbers"]`, (B, len(numbers)) float32, is the k-th of them.
        categories: text column -> its number of ids; id 0 stands for unseen and empty. Column k of
            `inputs["categories"]`, (B, len(categories)) int32, is the k-th of them.
        arrays: array column -> the shape of one example. The only column of a data set is given to the model bare.
    """

    numbers: dict[str, tuple[float, ...]]
    categories: dict[str, int]
    arrays: dict[str, tuple[int, ...]]


def load_table(config: Mapping[str, Any], catalog: Catalog) -> Table:
    """Reads the data set that the config's `data` names. Raises DataError."""
    component = catalog.get("dataset", config["name"], "data.name")
    table = component.load()(**{param.name: config[param.name] for param in component.params if param.name in config})
    return table if config["sample_weight"] is None else _with_weights(table, config["sample_weight"])


def _with_weights(table: Table, column: str) -> Table:
    """Returns a table one of whose number columns is its rows' weights. Raises DataError."""
    where = f"{table.source}: data.sample_weight"
    if column not in table.columns:
        known = ", ".join(table.columns)
        hint = near_miss(column, table.columns)
        raise DataError(f"{where}: no such column. Received: {column!r}. Known: {known}.{hint}")
    weights = np.asarray(table.columns.pop(column))
    if weights.dtype == object or weights.ndim != 1:
        raise DataError(f"{where}: must be a column of numbers. Received: {column!r}")
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        line = f"{table.source}:{table.first_line + row}"
        raise DataError(f"{line}, column {column!r}: a weight must be >= 0. Received: {weights[row]:g}")
    return replace(table, weights=weights.astype("float64"))
