"""Defines `csv`, a data set in a CSV file; every doubtful cell is reported with its line before training starts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt

from tfrun import register
from tfrun.components.datasets.checks import MIN_ROWS
from tfrun.components.datasets.csv_file import CsvFile, TextColumn
from tfrun.data.table import Table, Target, TrainedColumns
from tfrun.errors import DataError

log = logging.getLogger(__name__)


@register.dataset("csv")
def csv(
    path: str,
    target: str | list[str],
    task: Literal["auto", "regression", "classification"] = "auto",
    separator: str = ",",
    decimal: Literal[".", ","] = ".",
    columns: list[str] | None = None,
    exclude: list[str] | None = None,
    text_columns: list[str] | None = None,
    max_categories: Annotated[int, Gt(0)] = 1000,
    text_encodings: Mapping[str, Mapping[str, Any]] = {},  # noqa: B006 (never changed)
    rows_only: bool = False,
    trained_columns: TrainedColumns | None = None,
) -> Table:
    r"""Reads a CSV file in UTF-8 with a header line.

    A column whose cells are all numbers or empty is a number column; all other columns, dates and true/false included,
    are text. In a number column NA, nan, null, None, ? and - count as empty.

    Args:
        path: the file, relative to the folder that the command runs in.
        target: the column to predict, or several for model=multi_task, the main one first. A row without a target is an
            error.
        task: "auto" is classification for a text target and for one of only 0 and 1, and regression for other numbers
            (whole numbers may be counts or grades as well as classes).
        separator: the character between cells; \t for tabs.
        decimal: the character before a number's fraction.
        columns: the columns to learn from; null takes all except the target.
        exclude: columns to leave out.
        text_columns: columns of numbers that are names of something, for example postal codes.
        max_categories: the largest number of different values of a text column that data.text doesn't name.
        text_encodings: the config's data.text; set by the engine.
        rows_only: whether to read rows without a target; set by the engine.
        trained_columns: the columns of the run that the rows are for; set by the engine. Then the file may have further
            columns, and columns, exclude, text_columns, max_categories and task don't matter.

    Raises:
        DataError: the file or a cell in it can't be used; the message names the line and the column.
        ResourceError: the file may not be read.
    """
    file = CsvFile.open(path, separator)
    targets = [target] if isinstance(target, str) else target
    if trained_columns is not None:
        return _further_rows(
            file,
            [] if rows_only else targets,
            trained=trained_columns,
            order=columns or file.header,
            decimal=decimal,
        )
    names = _input_names(
        file, targets, columns=columns, exclude=exclude, text_columns=text_columns, rows_only=rows_only
    )
    if not names:
        raise DataError(f"data.columns: no column of {path} is left to learn from except the target {target!r}.")
    as_text = {*(text_columns or []), *text_encodings, *(targets if task == "classification" else [])}
    num_rows, cells = file.read([*names, *([] if rows_only else targets)], as_text, decimal)
    if num_rows < (1 if rows_only else MIN_ROWS):
        rows = "a header but no rows" if num_rows == 0 else f"{num_rows} rows"
        raise DataError(f"data.path: {path} has {rows}; at least {1 if rows_only else MIN_ROWS} are needed.")

    inputs: dict[str, np.ndarray] = {}
    for name in names:
        column = cells.pop(name)  # popped, so that the cells and the array made of them aren't both kept
        if isinstance(column, TextColumn):
            if name not in as_text:
                file.numbers(name, column, decimal)  # for its errors only: the column isn't all numbers
            if name not in text_encodings and not rows_only:
                _check_categories(path, name, column, num_rows, max_categories)
            inputs[name] = column.array()
        else:
            inputs[name] = file.check_numbers(name, column)

    if rows_only:
        return Table(inputs, np.zeros(num_rows), targets[0], "regression", path, first_line=2)
    main, *others = [_target(file, name, cells.pop(name), task, decimal) for name in targets]
    return Table(
        inputs,
        main.values,
        targets[0],
        main.task,
        path,
        first_line=2,
        others=dict(zip(targets[1:], others, strict=True)),
    )


def _further_rows(
    file: CsvFile, targets: Sequence[str], *, trained: TrainedColumns, order: Sequence[str], decimal: str
) -> Table:
    """Returns rows for a trained run: each column and each target is of the kind that it was in training.

    Args:
        file: the rows; it may have further columns.
        targets: the names of the targets, the main one first; none reads rows without them.
        trained: the columns of the run.
        order: of the table's columns. For the run's own file it has to give the table that was trained on.
        decimal: the character before a number's fraction.
    """
    wanted = [*trained.numbers, *trained.texts]
    file.check_columns("columns", wanted)
    _check_further_targets(file, targets, trained)
    wanted += [trained.weight] if trained.weight in file.header else []
    names = [name for name in dict.fromkeys([*order, *wanted]) if name in wanted]
    classes = dict(zip(targets, trained.targets if targets else (), strict=True))
    as_text = {*trained.texts, *(name for name in targets if classes[name] is not None)}
    num_rows, cells = file.read([*names, *targets], as_text, decimal)
    if num_rows == 0:
        raise DataError(f"data.path: {file.path} has a header but no rows; at least 1 is needed.")
    columns: dict[str, np.ndarray] = {}
    for name in [*names, *targets]:
        column = cells.pop(name)
        if isinstance(column, TextColumn):
            numbers = None if name in as_text else file.numbers(name, column, decimal, require=True)
            columns[name] = column.array() if numbers is None else numbers
        else:
            columns[name] = file.check_finite(name, column)  # all of its cells may be empty
    inputs = {name: columns[name] for name in names}
    if not targets:
        return Table(inputs, np.zeros(num_rows), "", "regression", file.path, first_line=2)
    main, *others = [
        Target(_filled(file, name, columns[name]), "regression" if classes[name] is None else "classification")
        for name in targets
    ]
    return Table(
        inputs,
        main.values,
        targets[0],
        main.task,
        file.path,
        first_line=2,
        others=dict(zip(targets[1:], others, strict=True)),
    )


def _check_further_targets(file: CsvFile, targets: Sequence[str], trained: TrainedColumns) -> None:
    """Raises DataError if the file lacks a target, or they can't be those of the run."""
    file.check_columns("target", targets)
    if targets and len(set(targets)) != len(trained.targets):
        raise DataError(f"data.target: the run has {len(trained.targets)} targets. Received: {list(targets)}")
    for name in targets:
        if name in (*trained.numbers, *trained.texts):
            raise DataError(f"data.target: the run learnt from this column. Received: {name!r}")


def _filled(file: CsvFile, name: str, cells: np.ndarray) -> np.ndarray:
    """Returns the cells of a target. Raises DataError if one of them is empty."""
    empty = cells == "" if cells.dtype == object else np.isnan(cells)
    if empty.any():
        where, cell = file.find(int(np.argmax(empty)), name)
        raise DataError(
            f"{where}, column {name!r}: the target is empty. Received: {cell!r} ({int(empty.sum())} such rows)."
        )
    return cells


def _input_names(
    file: CsvFile,
    targets: Sequence[str],
    *,
    columns: Sequence[str] | None,
    exclude: Sequence[str] | None,
    text_columns: Sequence[str] | None,
    rows_only: bool,
) -> list[str]:
    """Returns the names of the columns to learn from, each once.

    Raises:
        DataError: an option names a column that the file lacks, or the targets are none, repeated or excluded.
    """
    if not targets or len(set(targets)) < len(targets):
        raise DataError(f"data.target: must be one column, or several different ones. Received: {list(targets)}")
    for option, names in (
        ("target", [] if rows_only else targets),
        ("columns", columns),
        ("exclude", exclude),
        ("text_columns", text_columns),
    ):
        file.check_columns(option, names or [])
    excluded = exclude or []
    for name in targets:
        if name in excluded:
            raise DataError(f"data.exclude: holds the target. Received: {name!r}")
    return list(dict.fromkeys(name for name in columns or file.header if name not in targets and name not in excluded))


def _target(file: CsvFile, name: str, column: np.ndarray | TextColumn, task: str, decimal: str) -> Target:
    """Returns a column as a target for a task; "auto" chooses the task by the column's values."""
    if isinstance(column, TextColumn):
        numbers, labels = file.numbers(name, column, decimal, require=task == "regression"), column.array()
    else:
        numbers, labels = file.check_numbers(name, column), np.array([])
    _filled(file, name, labels if numbers is None else numbers)
    if task == "auto":
        binary = numbers is not None and np.array_equal(np.unique(numbers), [0, 1])
        task = "classification" if numbers is None or binary else "regression"
    if task == "classification":
        if numbers is not None and (numbers == np.round(numbers)).all():  # "1" and "1.0" are one class
            values, classes = np.unique(numbers, return_inverse=True)
            labels = np.array([str(int(value)) for value in values], dtype=object)[classes]
        _check_classes(file.path, name, labels)
        return Target(labels, task)
    assert numbers is not None
    _warn_of_target(file.path, name, numbers)
    return Target(numbers, task)


def _check_categories(path: str, name: str, text: TextColumn, num_rows: int, max_categories: int) -> None:
    num_different = len(text.values)
    half = max(20, num_rows // 2)
    if num_different > min(max_categories, half):
        more = f", or raise data.max_categories ({max_categories})" if max_categories < half else ""
        raise DataError(
            f"data.path: text column {name!r} of {path} has {num_different} different values in {num_rows} rows: "
            f"ids or free text? Leave it out with data.exclude=[{name}]{more}, or read its words: "
            f"'data.text={{{name}: tokens}}'."
        )


def _check_classes(path: str, target: str, labels: np.ndarray) -> None:
    num_classes = len(set(labels))
    if num_classes == 1:
        raise DataError(f"data.target: {target!r} of {path} has a single class. Received: {labels[0]!r}")
    if num_classes > max(20, len(labels) // 2):
        raise DataError(
            f"data.target: {target!r} of {path} has {num_classes} classes in {len(labels)} rows. "
            "For numbers: data.task=regression"
        )


def _warn_of_target(path: str, target: str, numbers: np.ndarray) -> None:
    values = np.unique(numbers)
    if len(values) == 1:
        log.warning("data.target: %r of %s is always %g: there is nothing to learn", target, path, values[0])
    elif len(values) <= 20 and (values == np.round(values)).all():
        log.warning(
            "data.target: %r of %s has only %d different whole numbers and is treated as numbers; "
            "if they are classes: data.task=classification",
            target,
            path,
            len(values),
        )
