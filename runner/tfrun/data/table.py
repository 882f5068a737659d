"""Raw rows (`Table`), and the description of its inputs that a model gets (`Features`)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from tfrun.config.column_kinds import ColumnKind
from tfrun.data.arrays import select
from tfrun.data.lazy_texts import LazyTexts
from tfrun.errors import DataError


@dataclass(frozen=True)
class Target:
    """Values to predict.

    Attributes:
        values: (N,) float64 numbers, or (N,) object of str, the labels of classes; nan or "" where it is missing.
        task: "regression" or "classification".
    """

    values: np.ndarray
    task: str


@dataclass(frozen=True)
class Series:
    """The series whose rows a table holds, one series after the other, each from its oldest to its newest row.

    Attributes:
        bounds: (S + 1,) int64: the rows of series k are bounds[k] to bounds[k + 1] - 1.
        names: each series' cell in the column `by`; a single "" if all rows are one series.
        by, time: the columns that tell series apart and order their rows, or None.
        times: the time of each row as it is written, (N,) object of str, or None.
    """

    bounds: np.ndarray
    names: tuple[str, ...]
    by: str | None = None
    time: str | None = None
    times: np.ndarray | None = field(default=None, compare=False)

    @property
    def lengths(self) -> np.ndarray:
        """The number of rows of each series, (S,)."""
        return np.diff(self.bounds)


@dataclass(frozen=True)
class Table:
    """Rows as they were read: nothing imputed, scaled or encoded yet.

    A table is encoded once. Encoding releases its columns one after the other (see `release`), so that the raw rows
    are not in memory beside the encoded ones. Raw rows that are needed later are copied before (`samples.py`).

    Attributes:
        columns: each of N rows. A number column is (N,) float64 with nan for an empty cell; a text column is (N,)
            object of str with "" for an empty cell, or a `LazyTexts`, which is indexed like it; an array column is
            (N, ...) finite numbers, images for example, an array or a `tfrun.data.arrays.StoredArray`.
        target: (N,) float64 numbers, or (N,) object of str, the labels of classes; nan or "" where it is missing, see
            data.missing_target.
        target_name: the target's name, for messages.
        task: "regression" or "classification".
        source: where the rows come from, for messages and for `run.json`.
        first_line: the line of row 0 in `source`, for messages; the others follow line by line, unless `locate` is set.
        weights: each row's weight, (N,) float64 >= 0, or None if all rows have the same.
        others: further targets by name, for a model of several tasks.
        rows_left_out: how many rows of the source are none of these, since they have no target.
        given: splits that the source gives, "val" and "test" -> row numbers; the rows of neither are trained on, or
            cut into what is missing. None if it gives none.
        split_cells: the cells of data.split.column, (N,), if the rows are split by one.
        kinds: the kinds of columns that the data set knows; those of the config win.
        keys: columns that are no inputs, (N,) each: what tells series apart and orders their rows, until `series` is
            set.
        series: the series that the rows are, if windows of series are the examples, see `data.windows`.
        locate: (row, column) -> what `find` returns, for files in which rows and lines differ.
        first_row: the number of row 0 in `source`, of a table that is a piece of it.
        numbers_in_source: the number of each row in `source`, (N,), if it isn't the row's own.
    """

    columns: dict[str, Any]
    target: np.ndarray
    target_name: str
    task: str
    source: str
    first_line: int = 1
    weights: np.ndarray | None = None
    others: dict[str, Target] = field(default_factory=dict)
    rows_left_out: int = 0
    given: Mapping[str, np.ndarray] | None = None
    split_cells: Any = None
    kinds: Mapping[str, ColumnKind] = field(default_factory=dict)
    keys: dict[str, Any] = field(default_factory=dict)
    series: Series | None = None
    locate: Callable[[int, str | None], tuple[str, str | None]] | None = field(default=None, repr=False, compare=False)
    first_row: int = 0
    numbers_in_source: np.ndarray | None = field(default=None, repr=False, compare=False)
    _released: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    @property
    def targets(self) -> dict[str, Target]:
        """All targets by name, the main one first."""
        return {self.target_name: Target(self.target, self.task), **self.others}

    def release(self, name: str) -> Any:
        """Removes a column from the table and returns it: its memory is freed when the caller lets go of it."""
        self._released.add(name)
        return self.columns.pop(name)

    def require_columns(self) -> None:
        """Raises RuntimeError, as for any bug, if columns have been released: then these are no longer the rows."""
        if self._released:
            raise RuntimeError(f"{self.source}: columns were released already: {', '.join(sorted(self._released))}")

    def find(self, row: int, name: str | None = None) -> tuple[str, str | None]:
        """Returns where a row is, `source:line`, and its cell in column `name` as it is written, if that is known."""
        if self.locate is not None:
            try:
                return self.locate(row, name)
            except (OSError, DataError):  # the file has changed since
                pass
        return f"{self.source}:{self.first_line + row}", None

    def source_rows(self, rows: np.ndarray) -> np.ndarray:
        """Returns the numbers that rows have in `source`, from 0 on, (R,) int64: those left out count there."""
        numbers = rows if self.numbers_in_source is None else self.numbers_in_source[rows]
        return np.asarray(numbers, np.int64)

    @property
    def num_bytes(self) -> int:
        """About how much memory the columns take: a text as much as its characters and an object of Python's."""
        return sum(_num_bytes(column) for column in self.columns.values())

    def copy(self) -> Table:
        """Returns a table of the same columns, which releases its own ones alone."""
        return replace(self, columns=dict(self.columns))

    def with_columns(self, columns: Mapping[str, Any], *, kinds: Mapping[str, ColumnKind]) -> Table:
        """Returns the same rows and targets with other columns, and their kinds."""
        return replace(self, columns=dict(columns), kinds=kinds, locate=lambda row, _: self.find(row))

    def between(self, rows: slice) -> Table:
        """Returns the columns of some rows that follow each other, without their targets; this table keeps its own."""
        return replace(
            self,
            columns={name: column[rows] for name, column in self.columns.items()},
            target=np.zeros(rows.stop - rows.start),
            task="regression",
            weights=None,
            others={},
            given=None,
            split_cells=None,
            keys={},
            locate=lambda row, name: self.find(rows.start + row, name),
            first_row=self.first_row + rows.start,
            numbers_in_source=None if self.numbers_in_source is None else self.numbers_in_source[rows],
        )

    def select(self, rows: np.ndarray) -> Table:
        """Returns the rows with the given numbers, (R,). The columns are released from this table one by one."""
        places = np.full(len(self.target), -1)
        places[rows] = np.arange(len(rows))
        given = {name: places[numbers][places[numbers] >= 0] for name, numbers in (self.given or {}).items()}
        return replace(
            self,
            columns={name: select(self.release(name), rows) for name in list(self.columns)},
            target=self.target[rows],
            weights=None if self.weights is None else self.weights[rows],
            others={name: Target(target.values[rows], target.task) for name, target in self.others.items()},
            given=given or None,
            split_cells=None if self.split_cells is None else select(self.split_cells, rows),
            keys={name: select(cells, rows) for name, cells in self.keys.items()},
            locate=lambda row, name: self.find(int(rows[row]), name),
            numbers_in_source=self.source_rows(rows),
        )


def _num_bytes(column: Any) -> int:
    """Returns about how much memory a column takes; nothing if it is on disk."""
    if isinstance(column, LazyTexts):
        return column.memory_bytes
    if not isinstance(column, np.ndarray):
        return 0
    size = column.nbytes
    return size + sum(map(sys.getsizeof, column.flat)) if column.dtype == object else size


@dataclass(frozen=True)
class TrainedColumns:
    """The columns that a run was trained on; a data set that reads further rows for the run guesses nothing.

    Attributes:
        numbers: the names of the columns of numbers.
        texts: the names of the columns of texts.
        targets: for each target, the main one first, its classes; None for a target of numbers.
        weight: the name of the column of weights, or None.
        arrays: the names of the columns of arrays.
        option: the config key that names the columns, for messages; "path" if the run learnt from them.
    """

    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    targets: tuple[tuple[str, ...] | None, ...]
    weight: str | None = None
    arrays: tuple[str, ...] = ()
    option: str = "path"


@dataclass(frozen=True)
class Features:
    """The description of its inputs that a model gets when it is built.

    Attributes:
        numbers: number -> its inner decile boundaries on the training split, after scaling (at most 9, strictly
            increasing). Column k of `inputs["numbers"]`, (B, len(numbers)) float32, is the k-th of them. Its name is
            that of its column, or, if a column gives several numbers, begins with it: `day:elapsed`.
        categories: text column -> its number of ids; id 0 stands for unseen and empty. Column k of
            `inputs["categories"]`, (B, len(categories)) int32, is the k-th of them.
        arrays: array column -> the shape of one example. If it is a data set's only column, the model gets the bare
            array instead of a mapping.
        tokens: column of texts with several words -> its number of ids, and the length that each text is cut or
            padded to. `inputs[column]`, (B, length) int32, has the ids of a text's words in their order; 0 is padding,
            and 1 stands for unseen.
        window: if the examples are windows of a series, which are the only array, (length, F), the names of its F
            columns: first the main target's own past, scaled like the target.
    """

    numbers: dict[str, tuple[float, ...]]
    categories: dict[str, int]
    arrays: dict[str, tuple[int, ...]]
    tokens: dict[str, tuple[int, int]] = field(default_factory=dict)
    window: tuple[str, ...] = ()

    def to_config(self) -> dict[str, Any]:
        """Returns the fields as plain values, for `get_config` of a model, which its program doesn't depend on."""
        numbers = dict(dict.items(self.numbers))  # of `dict`, as these may record who reads them
        return asdict(replace(self, numbers=numbers))

    @property
    def has_columns(self) -> bool:
        """Whether there are columns other than arrays."""
        return bool(self.numbers or self.categories or self.tokens)
