"""Defines `csv`, a data set in a CSV file; every doubtful cell is reported with its line before training starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt

from tfrun import register
from tfrun.components.datasets.checks import MIN_ROWS, missing_spellings, short_labels
from tfrun.components.datasets.csv_checks import check_categories, check_classes, warn_of_target, warn_of_texts
from tfrun.components.datasets.csv_file import CsvFile, TextColumn
from tfrun.components.datasets.csv_numbers import NumberFormat
from tfrun.data.table import Table, Target, TrainedColumns
from tfrun.errors import DataError


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
    missing: list[str] | None = [],  # noqa: B006 (the catalog reads literal defaults; never changed)
    text_encodings: Mapping[str, Mapping[str, Any]] = {},  # noqa: B006
    rows_only: bool = False,
    trained_columns: TrainedColumns | None = None,
) -> Table:
    r"""Reads a CSV file in UTF-8 with a header line.

    A column whose cells are all numbers or missing is a number column; all other columns, dates and true/false
    included, are text. In a number column and in a target, NA, N/A, n/a, #N/A, nan, NaN, null, NULL, None, ? and -
    count as missing, as an empty cell does. In a text column only the empty cell does, so that "None" can be a
    category.

    Args:
        path: the file, relative to the folder that the command runs in.
        target: the column to predict, or several for model=multi_task, the main one first. For rows without a target
            see data.missing_target. Classes are the cells' own texts; if all are whole numbers, 1.0 is the class 1.
        task: "auto" is classification for a text target and for one of only 0 and 1, and regression for other numbers
            (whole numbers may be counts or grades as well as classes).
        separator: the character between cells; \t for tabs.
        decimal: the character before a number's fraction. A number with the other one is an error, since it could
            separate thousands too.
        columns: the columns to learn from; null takes all except the target.
        exclude: columns to leave out; '' is a column without a name.
        text_columns: columns of numbers that are names of something, for example postal codes.
        max_categories: the largest number of different values of a text column that data.text doesn't name.
        missing: more cells that count as missing, in text columns too, spelt as in the file, for example ['-999', x];
            null: only the empty cell does.
        text_encodings: the config's data.text; set by the engine.
        rows_only: whether to read rows without a target; set by the engine.
        trained_columns: the columns of the run that the rows are for; set by the engine. Then the file may have further
            columns, and columns, exclude, text_columns, max_categories and task don't matter.

    Raises:
        DataError: the file or a cell in it can't be used; the message names the line and the column.
        ResourceError: the file may not be read.
    """
    targets = [target] if isinstance(target, str) else target
    named = [*targets, *(columns or []), *(exclude or []), *(text_columns or []), *text_encodings]
    named += [*trained_columns.numbers, *trained_columns.texts] if trained_columns else []
    file = CsvFile.open(path, separator, wanted=named)
    numbers = NumberFormat(decimal, missing_spellings(missing))
    if trained_columns is not None:
        order, also_missing = columns or file.header, missing or []
        return _further_rows(
            file,
            [] if rows_only else targets,
            trained=trained_columns,
            order=order,
            numbers=numbers,
            also_missing=also_missing,
        )
    names = _input_names(
        file, targets, columns=columns, exclude=exclude, text_columns=text_columns, rows_only=rows_only
    )
    if not names:
        raise DataError(f"data.columns: no column of {path} is left to learn from except the target {target!r}.")
    as_text = {*(text_columns or []), *text_encodings, *(targets if task == "classification" else [])}
    num_rows, cells = file.read([*names, *([] if rows_only else targets)], as_text, numbers)
    _check_num_rows(path, num_rows, least=1 if rows_only else MIN_ROWS)
    excluded = exclude or []
    categories = {
        name: column for name in names if name not in text_encodings and isinstance(column := cells[name], TextColumn)
    }
    doubtful = [name for name in categories if name not in as_text]
    for name in doubtful:
        file.numbers(name, categories[name], numbers)  # for its errors only: the column isn't all numbers
    if not rows_only:
        check_categories(
            path, categories, num_rows=num_rows, max_categories=max_categories, excluded=excluded, numbers=numbers
        )
        for name in doubtful:
            warn_of_texts(path, name, categories[name], excluded=excluded)
    del categories  # so that the cells and the arrays made of them aren't both kept
    inputs: dict[str, np.ndarray] = {}
    for name in names:
        column = cells.pop(name)  # popped for the same reason
        if isinstance(column, TextColumn):
            inputs[name] = column.array(missing or [])
        else:
            inputs[name] = file.check_numbers(name, column, excluded=excluded)

    table = partial(Table, inputs, target_name=targets[0], source=path, first_line=file.first_line, locate=file.find)
    if rows_only:
        return table(target=np.zeros(num_rows), task="regression")
    main, *others = [_target(file, name, cells.pop(name), task, numbers) for name in targets]
    return table(target=main.values, task=main.task, others=dict(zip(targets[1:], others, strict=True)))


def _further_rows(
    file: CsvFile,
    targets: Sequence[str],
    *,
    trained: TrainedColumns,
    order: Sequence[str],
    numbers: NumberFormat,
    also_missing: Sequence[str],
) -> Table:
    """Returns rows for a trained run: each column and each target is of the kind that it was in training.

    Args:
        file: the rows; it may have further columns.
        targets: the names of the targets, the main one first; none reads rows without them.
        trained: the columns of the run.
        order: of the table's columns. For the run's own file it has to give the table that was trained on.
        numbers: how numbers are written.
        also_missing: data.missing.
    """
    wanted = [*trained.numbers, *trained.texts]
    file.check_known("columns", wanted)
    _check_further_targets(file, targets, trained)
    wanted += [trained.weight] if trained.weight in file.header else []
    names = [name for name in dict.fromkeys([*order, *wanted]) if name in wanted]
    file.check_used([*names, *targets])
    classes = dict(zip(targets, trained.targets if targets else (), strict=True))
    labels = [name for name in targets if classes[name] is not None]
    num_rows, cells = file.read([*names, *targets], {*trained.texts, *labels}, numbers)
    _check_num_rows(file.path, num_rows, least=1)
    columns: dict[str, np.ndarray] = {}
    for name in [*names, *targets]:
        column = cells.pop(name)
        if not isinstance(column, TextColumn):
            columns[name] = file.check_finite(name, column)  # all of its cells may be empty
        elif name in labels:
            columns[name] = column.array(numbers.missing)
        elif name in trained.texts:
            columns[name] = column.array(also_missing)
        else:
            columns[name] = file.all_numbers(name, column, numbers)
    inputs = {name: columns[name] for name in names}
    table = partial(Table, inputs, source=file.path, first_line=file.first_line, locate=file.find)
    if not targets:
        return table(target=np.zeros(num_rows), target_name="", task="regression")
    main, *others = [Target(columns[name], "classification" if name in labels else "regression") for name in targets]
    others_by_name = dict(zip(targets[1:], others, strict=True))
    return table(target=main.values, target_name=targets[0], task=main.task, others=others_by_name)


def _check_num_rows(path: str, num_rows: int, *, least: int) -> None:
    """Raises DataError if a file has too few rows."""
    if num_rows < least:
        rows = "a header but no rows" if num_rows == 0 else f"{num_rows} rows"
        raise DataError(f"data.path: {path} has {rows}; at least {least} {'is' if least == 1 else 'are'} needed.")


def _check_further_targets(file: CsvFile, targets: Sequence[str], trained: TrainedColumns) -> None:
    """Raises DataError if the file lacks a target, or they can't be those of the run."""
    file.check_known("target", targets)
    if targets and len(set(targets)) != len(trained.targets):
        raise DataError(f"data.target: the run has {len(trained.targets)} targets. Received: {list(targets)}")
    for name in targets:
        if name in (*trained.numbers, *trained.texts):
            raise DataError(f"data.target: the run learnt from this column. Received: {name!r}")


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
        file.check_known(option, names or [])
    excluded = exclude or []
    for name in targets:
        if name in excluded:
            raise DataError(f"data.exclude: holds the target. Received: {name!r}")
    inputs = list(dict.fromkeys(columns or file.header))
    inputs = [name for name in inputs if name not in targets and name not in excluded]
    file.check_used([*inputs, *([] if rows_only else targets)])
    return inputs


def _target(file: CsvFile, name: str, column: np.ndarray | TextColumn, task: str, numbers: NumberFormat) -> Target:
    """Returns a column as a target for a task; "auto" chooses the task by the column's values.

    A missing value is nan, or the label "".
    """
    values: np.ndarray | None = None
    if not isinstance(column, TextColumn):
        values = file.check_finite(name, column)
    elif task == "regression":
        values = file.all_numbers(name, column, numbers)
    elif task == "auto":
        values = file.numbers(name, column, numbers, hint=" If they are classes: data.task=classification")
    if values is not None and (task == "regression" or not _is_binary(values)):
        warn_of_target(file.path, name, values)
        return Target(values, "regression")
    if not isinstance(column, TextColumn):
        column = file.read([name], [name], numbers)[1][name]  # classes are spelt as in the file
    assert isinstance(column, TextColumn)
    labels = short_labels(column.array(numbers.missing))
    check_classes(file.path, name, labels, numbers=numbers)
    return Target(labels, "classification")


def _is_binary(numbers: np.ndarray) -> bool:
    return np.array_equal(np.unique(numbers[~np.isnan(numbers)]), [0, 1])
