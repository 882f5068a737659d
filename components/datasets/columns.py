"""Makes the table of a file of columns: which of them are read, what each of them is, and the targets.

It is the same for all data sets of columns. A file of theirs is a `ColumnFile`, which reads columns as they are stored
in it; here is decided what they mean.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tfrun.components.datasets.checks import MIN_ROWS, MISSING, check_num_rows, missing_spellings, short_labels
from tfrun.components.datasets.column_checks import check_categories, check_classes, warn_of_target, warn_of_texts
from tfrun.components.datasets.csv_numbers import NumberFormat
from tfrun.components.datasets.texts import TextColumn
from tfrun.config.column_kinds import INTEGER_KINDS, BooleanKind, DateKind, NumberKind, TokensKind
from tfrun.data.arrays import StoredArray, blocks
from tfrun.data.kinds import are_iso_dates
from tfrun.data.lazy_texts import LazyTexts
from tfrun.data.store import Stores
from tfrun.data.table import Table, Target, TrainedColumns
from tfrun.errors import DataError, as_typed, near_miss

WITHOUT_WORDS = (BooleanKind.name, DateKind.name)  # kinds of texts of which NA can't be one


@dataclass(frozen=True, kw_only=True)
class ColumnOptions:
    """The config keys that say what the columns of a file mean, and what the engine fills in.

    Attributes:
        target: the target, or several, the main one first.
        task: "auto", "regression" or "classification".
        columns, exclude, text_columns: names of columns; None if the key isn't set.
        max_categories: the largest number of different texts in a column that has no encoding.
        missing: data.missing.
        text_encodings: data.text, and those of data.kinds that are texts.
        kinds: column -> the name of its kind: those of data.kinds, or all of a trained run.
        rows_only: whether to read rows without a target.
        trained: the columns of the run that the rows are for, or None.
        stores: where columns go that are too large for the memory, or None.
    """

    target: str | list[str]
    task: str = "auto"
    columns: Sequence[str] | None = None
    exclude: Sequence[str] | None = None
    text_columns: Sequence[str] | None = None
    max_categories: int = 1000
    missing: Sequence[str] | None = ()
    text_encodings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    rows_only: bool = False
    trained: TrainedColumns | None = None
    stores: Stores | None = None

    @property
    def targets(self) -> list[str]:
        """The names of the targets, the main one first."""
        return [self.target] if isinstance(self.target, str) else self.target

    @property
    def named(self) -> list[str]:
        """All columns that the config or the run names."""
        named = [*self.targets, *(self.columns or []), *(self.exclude or []), *(self.text_columns or [])]
        trained = [*self.trained.numbers, *self.trained.texts, *self.trained.arrays] if self.trained else []
        return [*named, *self.text_encodings, *self.kinds, *trained]

    @property
    def as_text(self) -> set[str]:
        """The columns that are text whatever their cells look like."""
        classes = self.targets if self.task == "classification" else []
        return {*(self.text_columns or []), *self.text_encodings, *classes}

    @property
    def integers(self) -> set[str]:
        """The columns whose whole numbers are ids: they stay integers, and mean what their texts mean."""
        return self._encoded_as(INTEGER_KINDS)

    @property
    def bags(self) -> set[str]:
        """The columns whose lists are bags of ids."""
        return self._encoded_as((TokensKind.name,))

    def _encoded_as(self, names: Collection[str]) -> set[str]:
        """Returns the columns, without targets, that have one of some encodings by the config."""
        encoded = {name for name, encoding in self.text_encodings.items() if encoding.get("name") in names}
        return encoded - set(self.targets)

    def missing_texts(self, name: str) -> Collection[str]:
        """Returns the texts that stand for no value in a column of texts; in most of them NA may be a category."""
        return missing_spellings(self.missing) if self.kinds.get(name) in WITHOUT_WORDS else self.missing or ()

    @property
    def min_rows(self) -> int:
        """The smallest number of rows that is of use."""
        return 1 if self.rows_only or self.trained is not None else MIN_ROWS


class ColumnFile(ABC):
    """A file, or several, of named columns.

    Attributes:
        path: where the rows come from, for messages.
        header: the names of the columns.
        first_line: the line of row 0, for messages.
        number_format: how texts that are numbers to a person are written, for messages.
    """

    path: str
    header: list[str]
    first_line: int = 0
    number_format: NumberFormat = NumberFormat(".", MISSING)

    @abstractmethod
    def read(self, names: Sequence[str], as_text: Collection[str]) -> tuple[int, dict[str, Any]]:
        """Returns the number of rows, and the columns `names` by name.

        A column of numbers is (N,) float64, with nan for missing cells; one of texts, or one of the names in `as_text`,
        is a `TextColumn`; one of arrays is (N, ...). Whole numbers that are ids are `IntegerTexts`, and lists of ids
        `Bags`.
        """

    @property
    def known_cells(self) -> list[str]:
        """The names of the columns that `stored_batches` can yield as they are stored."""
        return self.header

    def kept_types(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns the Arrow types of columns that are kept, by name, as far as the file has such.

        Raises:
            DataError: a column has types that have none in common.
        """
        return {}

    @abstractmethod
    def stored_batches(self, names: Sequence[str], kept: Sequence[str]) -> Iterator[Any]:
        """Yields the rows of some columns block by block, as Arrow's record batches.

        Args:
            names: the columns to convert.
            kept: the columns whose cells are wanted as they are stored, of whatever type.
        """

    @abstractmethod
    def converted(self, name: str, cells: Sequence[Any], *, as_text: bool, first_row: int) -> Any:
        """Returns what `read` would of a column, for some of its cells.

        Args:
            name: the column's.
            cells: as `stored_batches` yields them, block after block.
            as_text: whether they are texts whatever they look like.
            first_row: the number of the first cell's row, for messages.
        """

    @abstractmethod
    def find(self, row: int, name: str | None = None) -> tuple[str, str | None]:
        """Returns where a row is, and its cell in column `name` as it is written, if that is known."""

    def check_known(self, option: str, names: Sequence[str]) -> None:
        """Raises DataError for a name that the file lacks.

        Args:
            option: the config key that holds the names; "path" for the columns of a trained run, which no key holds.
            names: of columns.
        """
        for name in names:
            if name not in self.header:
                raise self.no_such_column(option, name)

    def no_such_column(self, option: str, name: str, hint: str = "") -> DataError:
        """Returns the error for a name that the file lacks."""
        known, near = ", ".join(self.header), near_miss(name, self.header)
        what = "the run learnt from a column that isn't in" if option == "path" else "no such column in"
        return DataError(f"data.{option}: {what} {self.path}. Received: {name!r}. Known: {known}.{near}{hint}")

    def check_used(self, names: Sequence[str]) -> None:
        """Raises DataError if a column that is read has no name, or the name of another one."""
        for name in names:
            if self.header.count(name) > 1:
                raise DataError(f"{self.path}: two columns have the same name. Received: {name!r}")

    @abstractmethod
    def numbers(self, name: str, text: TextColumn, *, require: bool = False, hint: str = "") -> np.ndarray | None:
        """Returns a text column as numbers, (N,) float64, or None if it holds text.

        Args:
            name: the column's name.
            text: its cells.
            require: whether any text is an error.
            hint: a sentence for the message about a cell that isn't a number.

        Raises:
            DataError: the column holds text that is required to be numbers, or is mostly numbers.
        """

    def texts(self, name: str, column: np.ndarray) -> TextColumn:
        """Returns a column of numbers as texts, spelt as in the file."""
        texts: TextColumn = self.read([name], [name])[1][name]
        return texts

    def check_numbers(self, name: str, numbers: Any, *, excluded: Sequence[str] = ()) -> Any:
        """Returns the numbers, (N,). Raises DataError if one of them is infinite or all are nan.

        `excluded` is data.exclude, which the advice to leave out this column too repeats.
        """
        # most often the first block of a column on disk says so
        if len(numbers) and all(np.isnan(numbers[rows]).all() for rows in blocks(numbers)):
            raise DataError(
                f"data.path: column {name!r} of {self.path} is empty. "
                f"Leave it out with {as_typed('data.exclude', [*excluded, name])}"
            )
        return self.check_finite(name, numbers)

    def check_finite(self, name: str, numbers: Any, *, first_row: int = 0) -> Any:
        """Returns the numbers, nan for empty cells. Raises DataError if one of them is infinite.

        Columns on disk were checked as they were read. `first_row` is the number of the first one's row.
        """
        if isinstance(numbers, StoredArray):
            return numbers
        infinite = np.isinf(numbers)
        if infinite.any():
            row = int(np.argmax(infinite))
            raise self.not_finite(name, first_row + row, received=numbers[row])
        return numbers

    def not_finite(self, name: str, row: int, *, received: Any = np.inf) -> DataError:
        """Returns the error for an infinite number; `received` is it, if its cell isn't known."""
        where, cell = self.find(row, name)
        return DataError(
            f"{where}, column {name!r}: not finite. Received: {(str(received) if cell is None else cell)!r}"
        )


def read_table(file: ColumnFile, options: ColumnOptions) -> Table:
    """Returns the rows of a file.

    Raises:
        DataError: an option names a column that the file lacks, or a cell can't be used.
    """
    if options.trained is not None:
        return _further_rows(file, options, options.trained)
    names, targets = _input_names(file, options), options.targets
    num_rows, cells = file.read([*names, *([] if options.rows_only else targets)], options.as_text)
    check_num_rows(file.path, num_rows, least=options.min_rows)
    _check_texts(file, {name: cells[name] for name in names}, options=options, num_rows=num_rows)
    # popped, so that the cells and the array made of them aren't both kept
    inputs = {name: _input(file, name, cells.pop(name), options=options) for name in names}
    table = partial(
        Table, inputs, target_name=targets[0], source=file.path, first_line=file.first_line, locate=file.find
    )
    if options.rows_only:
        return table(target=np.zeros(num_rows), task="regression")
    main, *others = [_target(file, name, cells.pop(name), options=options) for name in targets]
    return table(target=main.values, task=main.task, others=dict(zip(targets[1:], others, strict=True)))


def _check_texts(file: ColumnFile, columns: Mapping[str, Any], *, options: ColumnOptions, num_rows: int) -> None:
    """Raises DataError for columns of texts that can't be categories, and warns of those that may mean another thing.

    Columns of ISO dates are no categories, unless the config says so.

    Args:
        file: for messages.
        columns: the columns to learn from; only those of texts without an encoding are checked.
        options: the config's.
        num_rows: how many rows the file has.
    """
    texts = {
        name: column
        for name, column in columns.items()
        if isinstance(column, TextColumn)
        and name not in (*options.text_encodings, *options.kinds)
        and not (name not in options.as_text and are_iso_dates(np.array(column.values, dtype=object)))
    }
    doubtful = [name for name in texts if name not in options.as_text]
    for name in doubtful:
        file.numbers(name, texts[name])  # for its errors only: the column isn't all numbers
    if options.rows_only:
        return
    excluded = options.exclude or []
    check_categories(
        file.path,
        texts,
        num_rows=num_rows,
        max_categories=options.max_categories,
        excluded=excluded,
        numbers=file.number_format,
    )
    for name in doubtful:
        warn_of_texts(file.path, name, texts[name], excluded=excluded)


def _input(file: ColumnFile, name: str, column: Any, *, options: ColumnOptions) -> Any:
    """Returns a column to learn from as a table has it."""
    if isinstance(column, TextColumn) and options.kinds.get(name) == NumberKind.name:
        column = file.numbers(name, column, require=True)
    if isinstance(column, TextColumn):
        return column.column(options.missing_texts(name))
    if isinstance(column, LazyTexts):
        return column.without(frozenset(options.missing_texts(name)))
    return file.check_numbers(name, column, excluded=options.exclude or []) if column.ndim == 1 else column


def _further_rows(file: ColumnFile, options: ColumnOptions, trained: TrainedColumns) -> Table:
    """Returns rows for a trained run: each column and each target is of the kind that it was in training.

    Args:
        file: the rows; it may have further columns.
        options: `columns` says the order of the table's columns. For the run's own file it has to give the table that
            was trained on.
        trained: the columns of the run.
    """
    targets = [] if options.rows_only else options.targets
    names = further_names(file, options, targets)
    classes = dict(zip(targets, trained.targets if targets else (), strict=True))
    labels = [name for name in targets if classes[name] is not None]
    num_rows, cells = file.read([*names, *targets], {*trained.texts, *labels})
    check_num_rows(file.path, num_rows, least=options.min_rows)
    columns: dict[str, Any] = {}
    for name in [*names, *targets]:
        column = cells.pop(name)
        if isinstance(column, LazyTexts):
            columns[name] = column.without(frozenset(options.missing_texts(name)))
        elif not isinstance(column, TextColumn):
            column = np.asarray(column) if name in targets else column  # targets are always in memory
            columns[name] = file.check_finite(name, column) if column.ndim == 1 else column  # all cells may be empty
        elif name in labels:
            columns[name] = column.array(missing_spellings(options.missing))
        elif name in trained.texts:
            columns[name] = column.column(options.missing_texts(name))
        else:
            columns[name] = file.numbers(name, column, require=True)
    inputs = {name: columns[name] for name in names}
    table = partial(Table, inputs, source=file.path, first_line=file.first_line, locate=file.find)
    if not targets:
        return table(target=np.zeros(num_rows), target_name="", task="regression")
    main, *others = [Target(columns[name], "classification" if name in labels else "regression") for name in targets]
    others_by_name = dict(zip(targets[1:], others, strict=True))
    return table(target=main.values, target_name=targets[0], task=main.task, others=others_by_name)


def further_names(file: ColumnFile, options: ColumnOptions, targets: Sequence[str] = ()) -> list[str]:
    """Returns the columns of a file to read for the trained run of `options`, and its weights, in the table's order.

    Raises:
        DataError: the file lacks a column or a target, or they can't be those of the run.
    """
    trained = options.trained
    assert trained is not None
    wanted = [*trained.numbers, *trained.texts, *trained.arrays]
    file.check_known(trained.option, wanted)
    _check_further_targets(file, targets, trained)
    wanted += [trained.weight] if trained.weight in file.header else []
    names = [name for name in dict.fromkeys([*(options.columns or file.header), *wanted]) if name in wanted]
    file.check_used([*names, *targets])
    return names


def _check_further_targets(file: ColumnFile, targets: Sequence[str], trained: TrainedColumns) -> None:
    """Raises DataError if the file lacks a target, or they can't be those of the run."""
    file.check_known("target", targets)
    if targets and len(set(targets)) != len(trained.targets):
        raise DataError(f"data.target: the run has {len(trained.targets)} targets. Received: {list(targets)}")
    for name in targets:
        if name in (*trained.numbers, *trained.texts, *trained.arrays):
            raise DataError(f"data.target: the run learnt from this column. Received: {name!r}")


def _input_names(file: ColumnFile, options: ColumnOptions) -> list[str]:
    """Returns the names of the columns to learn from, each once.

    Raises:
        DataError: an option names a column that the file lacks, or the targets are none, repeated or excluded.
    """
    targets, excluded = options.targets, options.exclude or []
    if not targets or len(set(targets)) < len(targets):
        raise DataError(f"data.target: must be one column, or several different ones. Received: {list(targets)}")
    for option, names in (
        ("target", [] if options.rows_only else targets),
        ("columns", options.columns),
        ("exclude", options.exclude),
        ("text_columns", options.text_columns),
    ):
        file.check_known(option, names or [])
    for name in targets:
        if name in excluded:
            raise DataError(f"data.exclude: holds the target. Received: {name!r}")
    inputs = list(dict.fromkeys(options.columns or file.header))
    inputs = [name for name in inputs if name not in targets and name not in excluded]
    file.check_used([*inputs, *([] if options.rows_only else targets)])
    return inputs


def _target(file: ColumnFile, name: str, column: Any, *, options: ColumnOptions) -> Target:
    """Returns a column as a target for a task; "auto" chooses the task by the column's values.

    A missing value is nan, or the label "".
    """
    task, values = options.task, None
    if not isinstance(column, TextColumn):
        if column.ndim > 1:
            raise DataError(f"data.target: {name!r} of {file.path} holds arrays; a target must be one number or text")
        column = np.asarray(column)  # targets are always in memory
        values = file.check_finite(name, column)
    elif task == "regression":
        values = file.numbers(name, column, require=True)
    elif task == "auto":
        values = file.numbers(name, column, hint=" If they are classes: data.task=classification")
    if values is not None and (task == "regression" or not _is_binary(values)):
        warn_of_target(file.path, name, values)
        return Target(values, "regression")
    if not isinstance(column, TextColumn):
        column = file.texts(name, column)
    labels = short_labels(column.array(missing_spellings(options.missing)))
    check_classes(file.path, name, labels, numbers=file.number_format)
    return Target(labels, "classification")


def _is_binary(numbers: np.ndarray) -> bool:
    different: set[float] = set()
    for rows in blocks(numbers):
        values = np.unique(numbers[rows])
        different.update(values[~np.isnan(values)].tolist())
        if len(different) > 2:
            return False
    return different == {0.0, 1.0}
