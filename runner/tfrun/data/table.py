"""What a data set is before TensorFlow sees it, and what a model is told of it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tfrun.config.catalog import Catalog
from tfrun.config.settings import DataSettings
from tfrun.errors import DataError, near_miss


@dataclass(frozen=True)
class Target:
    """What is to be predicted.

    Attributes:
        values: (N,) float64 numbers, or (N,) object of str, the labels of classes.
        task: "regression" or "classification".
    """

    values: np.ndarray
    task: str


@dataclass(frozen=True)
class Table:
    """Rows as they were read: nothing imputed, scaled or encoded yet.

    Attributes:
        columns: each of N rows. A number column is (N,) float64 with nan for an empty cell; a text column is (N,)
            object of str with "" for an empty cell; an array column is (N, ...) finite numbers, images for example, an
            array or a `tfrun.data.arrays.StoredArray`. Preparing a table empties this, so that no column is kept twice.
        target: (N,) float64 numbers, or (N,) object of str, the labels of classes.
        target_name: the target's name, for messages.
        task: "regression" or "classification".
        source: where the rows come from, for messages and for `run.json`.
        first_line: the line of row 0 in `source`, for messages.
        weights: how much each row counts, (N,) float64 >= 0, or None where all count the same.
        others: further targets by name, for a model of several tasks.
    """

    columns: dict[str, Any]
    target: np.ndarray
    target_name: str
    task: str
    source: str
    first_line: int = 1
    weights: np.ndarray | None = None
    others: dict[str, Target] = field(default_factory=dict)


@dataclass(frozen=True)
class Features:
    """What a model is told about its inputs when it is built.

    Attributes:
        numbers: number column -> its inner decile boundaries on the training split, after standardizing (at most 9,
            strictly increasing). Column k of `inputs["numbers"]`, (B, len(numbers)) float32, is the k-th of them.
        categories: text column -> its number of ids; id 0 stands for unseen and empty. Column k of
            `inputs["categories"]`, (B, len(categories)) int32, is the k-th of them.
        arrays: array column -> the shape of one example. The only column of a data set is given to the model bare.
        tokens: column of texts of several words -> its number of ids and how many of a text are kept. `inputs[column]`,
            (B, length) int32, has a text's ids in their order; 0 fills the rest, and 1 stands for unseen.
    """

    numbers: dict[str, tuple[float, ...]]
    categories: dict[str, int]
    arrays: dict[str, tuple[int, ...]]
    tokens: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def has_columns(self) -> bool:
        """Whether there is more than arrays."""
        return bool(self.numbers or self.categories or self.tokens)


def load_table(data: DataSettings, catalog: Catalog, rows_only: bool = False) -> Table:
    """Reads the data set that the config's `data` names.

    Args:
        data: the config's `data`.
        catalog: the components.
        rows_only: whether the targets are not needed: a data set that can do so reads rows without them.

    Raises:
        DataError: the data can't be read.
    """
    component = catalog.get("dataset", data.name, "data.name")
    read = component.load()
    given = {param.name: data.params[param.name] for param in component.params if param.name in data.params}
    offered = {"text_encodings": data.text_encodings, "rows_only": rows_only}
    accepted = inspect.signature(read).parameters
    table = read(**given, **{name: value for name, value in offered.items() if name in accepted})
    return table if rows_only or data.sample_weight is None else _with_weights(table, data.sample_weight)


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
