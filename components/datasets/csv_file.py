"""CSV files, read a piece at a time; everything doubtful in them is told with its line before training starts.

Cells are read as text and become numbers here, not in the parser, so that a fault can name its line and value.
"""

from __future__ import annotations

import csv as python_csv
import itertools
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
from annotated_types import Gt

from tfrun import register
from tfrun.data.arrays import give_back
from tfrun.data.table import Table, Target
from tfrun.errors import DataError, ResourceError, near_miss

MIN_ROWS = 10  # fewer can't be split into training, validation and test rows
EMPTY_NUMBERS = pa.array(["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A", "?", "-"])
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
BLOCK_BYTES = 2**20  # read at once

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
) -> Table:
    r"""A CSV file in UTF-8 with a header line.

    A column whose cells are all numbers or empty is a number column; all others, dates and true/false too, are text.
    In a number column NA, nan, null, None, ? and - count as empty.

    Args:
        path: the file, from the folder the command runs in.
        target: the column to predict, or several for model=multi_task, the main one first. Rows without it are an
            error.
        task: "auto" is classification for a text target and for one of only 0 and 1, regression for other numbers
            (whole numbers may be counts or grades as well as classes).
        separator: what stands between cells; \t for tabs.
        decimal: what stands before a number's fraction.
        columns: the columns to learn from; null takes all but the target.
        exclude: columns to leave out.
        text_columns: columns of numbers that are names of something, a postal code for example.
        max_categories: the most different values a text column may have that data.text doesn't name.
        text_encodings: the config's data.text; the engine gives it.
        rows_only: whether to read rows that have no target; the engine says so.

    Raises:
        DataError: the file or a cell in it can't be used; the message names the line and the column.
        ResourceError: the file may not be read.
    """
    file = _File(path, separator)
    targets = [target] if isinstance(target, str) else target
    if not targets or len(set(targets)) < len(targets):
        raise DataError(f"data.target: one column, or several different ones. Received: {target}")
    for option, names in (
        ("target", [] if rows_only else targets),
        ("columns", columns),
        ("exclude", exclude),
        ("text_columns", text_columns),
    ):
        file.check_columns(option, names or [])
    for name in targets:
        if name in (exclude or []):
            raise DataError(f"data.exclude: holds the target. Received: {name!r}")
    used = [name for name in columns or file.header if name not in targets and name not in (exclude or [])]
    used = list(dict.fromkeys(used))
    if not used:
        raise DataError(f"data.columns: no column of {path} is left to learn from but the target {target!r}.")
    as_text = {*(text_columns or []), *text_encodings, *(targets if task == "classification" else [])}
    num_rows, cells = file.read([*used, *([] if rows_only else targets)], as_text, decimal)
    if num_rows < (1 if rows_only else MIN_ROWS):
        rows = "a header but no rows" if num_rows == 0 else f"{num_rows} rows"
        raise DataError(f"data.path: {path} has {rows}; at least {1 if rows_only else MIN_ROWS} are needed.")

    inputs: dict[str, np.ndarray] = {}
    for name in used:
        column = cells.pop(name)  # what is made into an array isn't kept twice
        if isinstance(column, _Text):
            if name not in as_text:
                file.numbers(name, column, decimal)  # for its errors: numbers it is not
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


class _Text:
    """A column's cells, each the number of its text among the column's different ones, so that equal cells share it."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._cells: list[np.ndarray] = []

    def add(self, cells: pa.StringArray) -> None:
        coded = cells.dictionary_encode()
        numbers = [self._numbers.setdefault(text, len(self._numbers)) for text in coded.dictionary.to_pylist()]
        self._cells.append(np.array(numbers, dtype=np.int32)[coded.indices.to_numpy()])

    @property
    def values(self) -> list[str]:
        """The different texts."""
        return list(self._numbers)

    def places(self) -> np.ndarray:
        """Returns where in `values` each cell's text is, (N,) int32."""
        return np.concatenate(self._cells)

    def array(self) -> np.ndarray:
        """Returns the cells, (N,) object of str."""
        return np.array(self.values, dtype=object)[self.places()]


class _File:
    """A CSV file whose header has been read, and the messages about it."""

    def __init__(self, path: str, separator: str):
        self.path = existing_file(path)
        self.separator = {"\\t": "\t", "tab": "\t"}.get(separator, separator)
        if len(self.separator) != 1:
            raise DataError(f"data.separator: one character. Received: {separator!r}")
        first = next(self._rows(), (1, []))[1]
        self.header = [name.strip() for name in first]
        if not self.header:
            raise DataError(f"data.path: {path} is empty.")
        for k, name in enumerate(self.header):
            if name == "":
                raise DataError(f"{path}:1: column {k + 1} of the header has no name.")
            if name in self.header[:k]:
                raise DataError(f"{path}:1: two columns have the same name. Received: {name!r}")

    def check_columns(self, option: str, names: Sequence[str]) -> None:
        for name in names:
            if name in self.header:
                continue
            others = [other for other in ",;\t|" if other in self.header[0]]
            if len(self.header) == 1 and others:
                shown = "\\t" if others[0] == "\t" else others[0]
                raise DataError(f"{self.path}:1: columns are separated by '{shown}': try data.separator='{shown}'")
            known = ", ".join(self.header)
            hint = near_miss(name, self.header)
            raise DataError(f"data.{option}: no such column in {self.path}. Received: {name!r}. Known: {known}.{hint}")

    def read(
        self, names: Sequence[str], as_text: Collection[str], decimal: str
    ) -> tuple[int, dict[str, np.ndarray | _Text]]:
        """Returns the number of rows, and the columns.

        A column whose cells are all numbers or empty is (N,) float64, with nan for empty; others, and those in
        `as_text`, are text.
        """
        most_rows = self._count_lines()
        columns: dict[str, np.ndarray | _Text] = {
            # room that is never written to takes up no memory
            name: _Text() if name in as_text else np.empty(most_rows)
            for name in names
        }
        num_rows, late, last_row = 0, [], ""
        for batch in self._batches(names):
            rows = slice(num_rows, num_rows + len(batch))
            for name, raw in zip(names, batch.columns, strict=True):
                column, cells = columns[name], pc.utf8_trim_whitespace(raw)
                if isinstance(column, _Text):
                    column.add(cells)
                elif name not in late:
                    numbers = _to_numbers(cells, decimal)
                    if numbers is not None:
                        column[rows] = numbers
                    elif num_rows == 0:
                        columns[name] = text = _Text()
                        text.add(cells)
                    else:
                        late.append(name)
            num_rows = rows.stop
            last_row = "".join(cells[-1].as_py() for cells in batch.columns) if len(batch) else last_row
        pa.default_memory_pool().release_unused()
        give_back()  # before TensorFlow's memory comes on top
        if "\n" in last_row and self._has_open_quote():
            raise DataError(f"{self.find(num_rows - 1)[0]}: a quote is opened and never closed.")
        for name, column in columns.items():
            columns[name] = column if isinstance(column, _Text) else column[:num_rows]
        if late:  # cells that are numbers already have lost their text
            columns |= self.read(late, late, decimal)[1]
        return num_rows, columns

    def _has_open_quote(self) -> bool:
        return Path(self.path).read_bytes().count(b'"') % 2 == 1

    def _count_lines(self) -> int:
        """Returns the most rows that the file may have."""
        count = 1
        with open(self.path, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                count += block.count(b"\n") + block.count(b"\r") - block.count(b"\r\n")
        return count

    def _batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields the next rows of the columns, as text."""
        raw = [f"column {k}" for k in range(len(self.header))]
        used = [raw[self.header.index(name)] for name in names]
        try:
            yield from arrow_csv.open_csv(
                self.path,
                # Names of our own, for the header may hold spaces or a byte-order mark; skip_rows counts its line.
                read_options=arrow_csv.ReadOptions(column_names=raw, skip_rows_after_names=1, block_size=BLOCK_BYTES),
                parse_options=arrow_csv.ParseOptions(delimiter=self.separator, newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=used, column_types=dict.fromkeys(raw, pa.string()), strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid as error:
            self._explain(error)

    def numbers(self, name: str, text: _Text, decimal: str, require: bool = False) -> np.ndarray | None:
        """Returns a text column as numbers, (N,) float64, or None where that is not what it holds.

        Raises DataError where the column is mostly numbers but not all; with `require` for any text.
        """
        values, places = pa.array(text.values, pa.string()), text.places()
        numbers = _to_numbers(values, decimal)
        if numbers is not None:
            return self.check_numbers(name, numbers[places])
        values, counts = _without_empty(values, decimal), np.bincount(places, minlength=len(values))
        num_filled = int(counts[values.is_valid()].sum())
        fits = np.array(pc.fill_null(pc.match_substring_regex(values, NUMBER), True))
        num_bad = int(counts[~fits].sum())
        row = int(np.argmin(fits[places]))
        if num_bad * 2 <= num_filled or require:
            where, cell = self.find(row, name)
            raise DataError(
                f"{where}, column {name!r}: not a number. Received: {cell!r} "
                f"({num_bad} such cells, {num_filled - num_bad} numbers)."
            )
        with_comma = np.array(pc.fill_null(pc.match_substring_regex(values, r"^[+-]?\d+,\d+$"), False))
        if counts[with_comma].sum() * 2 >= num_filled:
            where, cell = self.find(row, name)
            raise DataError(
                f"{where}, column {name!r}: numbers with a comma. Received: {cell!r}. "
                "If it is the decimal sign: data.decimal=','"
            )
        return None

    def check_numbers(self, name: str, numbers: np.ndarray) -> np.ndarray:
        """Returns the numbers. Raises DataError where one is infinite or all are nan."""
        if np.isnan(numbers).all() and len(numbers):
            raise DataError(
                f"data.path: column {name!r} of {self.path} is empty. Leave it out with data.exclude=[{name}]"
            )
        infinite = np.isinf(numbers)
        if infinite.any():
            where, cell = self.find(int(np.argmax(infinite)), name)
            raise DataError(f"{where}, column {name!r}: not finite. Received: {cell!r}")
        return numbers

    def find(self, row: int, name: str | None = None) -> tuple[str, str]:
        """Returns `file:line` and a cell of a row.

        Counted anew: quoted cells may span lines, and empty lines don't count.
        """
        for line, cells in itertools.islice(self._rows(), row + 1, row + 2):
            return f"{self.path}:{line}", cells[self.header.index(name)].strip() if name else ""
        return self.path, ""

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yields (line, cells) of each row, the header first. Raises DataError for text that is not UTF-8."""
        try:
            with open(self.path, encoding="utf-8-sig", newline="") as lines:
                reader = python_csv.reader(lines, delimiter=self.separator)
                line = 1
                for row in reader:
                    if row:
                        yield line, row
                    line = reader.line_num + 1
        except UnicodeDecodeError:
            self._explain_encoding()
        except python_csv.Error as error:
            raise DataError(f"{self.path}:{line}: {error}") from None

    def _explain_encoding(self) -> NoReturn:
        data = Path(self.path).read_bytes()
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise DataError(
                f"{self.path}:{line}: not UTF-8 text. Received: byte {data[error.start]:#04x} at offset {error.start}. "
                "Save the file as UTF-8."
            ) from None
        raise DataError(f"data.path: {self.path} can't be read as UTF-8 text.")

    def _explain(self, error: pa.ArrowInvalid) -> NoReturn:
        """Raises the DataError for what Arrow could not parse, with the line that Arrow does not give."""
        for line, row in self._rows():
            if len(row) != len(self.header) and any("\n" in cell for cell in row) and self._has_open_quote():
                raise DataError(f"{self.path}:{line}: a quote is opened and never closed.") from None
            if len(row) != len(self.header):
                raise DataError(
                    f"{self.path}:{line}: {len(row)} cells where the header has {len(self.header)}. "
                    f"Received: {self.separator.join(row)[:80]!r}"
                ) from None
        raise DataError(f"data.path: {self.path} can't be read: {error}") from None


def existing_file(path: str) -> str:
    """Returns `path` with ~ filled in.

    Raises:
        DataError: it is no file; the message names the near miss beside it.
        ResourceError: it may not be read.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise DataError(f"data.path: a file, not a folder. Received: {path!r}")
    if not file.exists():
        folder = file.parent
        if not folder.is_dir():
            raise DataError(f"data.path: no such folder. Received: {str(folder)!r}")
        hint = near_miss(file.name, [entry.name for entry in folder.iterdir()])
        raise DataError(f"data.path: no such file. Received: {path!r}.{hint}")
    try:
        with open(file, "rb") as opened:
            opened.read(1)
    except PermissionError:
        raise ResourceError(f"data.path: no permission to read the file. Received: {path!r}") from None
    except OSError as error:
        raise DataError(f"data.path: {path} can't be read: {error.strerror}") from None
    return str(file)


def _target(file: _File, name: str, column: np.ndarray | _Text, task: str, decimal: str) -> Target:
    """Returns a column as a target of a task, or of what it looks like for "auto"."""
    if isinstance(column, _Text):
        numbers, labels = file.numbers(name, column, decimal, require=task == "regression"), column.array()
        empty = labels == "" if numbers is None else np.isnan(numbers)
    else:
        numbers, labels = file.check_numbers(name, column), np.array([])
        empty = np.isnan(numbers)
    if empty.any():
        where, cell = file.find(int(np.argmax(empty)), name)
        raise DataError(
            f"{where}, column {name!r}: the target is empty. Received: {cell!r} ({int(empty.sum())} such rows)."
        )
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


def _to_numbers(cells: pa.StringArray, decimal: str) -> np.ndarray | None:
    """Returns cells as (N,) float64 with nan for empty ones, or None where one is no number."""
    text = _without_empty(cells, decimal)
    for clean in (lambda text: text, lambda text: pc.replace_substring_regex(text, r"^\+", "")):  # the second is slow
        try:
            return pc.cast(clean(text), pa.float64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            pass
    return None


def _without_empty(cells: pa.StringArray, decimal: str) -> pa.StringArray:
    """Returns cells with null for what counts as empty and a point for the decimal sign."""
    text = pc.if_else(pc.is_in(cells, value_set=EMPTY_NUMBERS), pa.scalar(None, pa.string()), cells)
    return pc.replace_substring(text, ",", ".") if decimal == "," else text


def _check_categories(path: str, name: str, text: _Text, num_rows: int, max_categories: int) -> None:
    different, half = len(text.values), max(20, num_rows // 2)
    if different > min(max_categories, half):
        more = f", or raise data.max_categories ({max_categories})" if max_categories < half else ""
        raise DataError(
            f"data.path: text column {name!r} of {path} has {different} different values in {num_rows} rows: ids or "
            f"free text? Leave it out with data.exclude=[{name}]{more}, or read its words: "
            f"'data.text={{{name}: tokens}}'."
        )


def _check_classes(path: str, target: str, labels: np.ndarray) -> None:
    different = len(set(labels))
    if different == 1:
        raise DataError(f"data.target: {target!r} of {path} has a single class. Received: {labels[0]!r}")
    if different > max(20, len(labels) // 2):
        raise DataError(
            f"data.target: {target!r} of {path} has {different} classes in {len(labels)} rows. "
            "For numbers: data.task=regression"
        )


def _warn_of_target(path: str, target: str, numbers: np.ndarray) -> None:
    different = np.unique(numbers)
    if len(different) == 1:
        log.warning("data.target: %r of %s is always %g: there is nothing to learn", target, path, different[0])
    elif len(different) <= 20 and (different == np.round(different)).all():
        log.warning(
            "data.target: %r of %s has only %d different whole numbers and is taken as numbers; "
            "if they are classes: data.task=classification",
            target,
            path,
            len(different),
        )
