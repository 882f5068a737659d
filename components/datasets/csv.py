"""CSV files, read whole; everything doubtful in them is told with its line before training starts.

Cells are read as text and become numbers here, not in the parser, so that a fault can name its line and value.
"""

from __future__ import annotations

import csv as python_csv
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
from annotated_types import Gt

from tfrun import register
from tfrun.errors import DataError, ResourceError, near_miss
from tfrun.table import Table

MIN_ROWS = 10  # fewer can't be split into training, validation and test rows
EMPTY_NUMBERS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A", "?", "-")
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"

log = logging.getLogger(__name__)


@register.dataset("csv")
def csv(
    path: str,
    target: str,
    task: Literal["auto", "regression", "classification"] = "auto",
    separator: str = ",",
    decimal: Literal[".", ","] = ".",
    columns: list[str] | None = None,
    exclude: list[str] | None = None,
    text_columns: list[str] | None = None,
    max_categories: Annotated[int, Gt(0)] = 1000,
) -> Table:
    r"""A CSV file in UTF-8 with a header line.

    A column whose cells are all numbers or empty is a number column; all others, dates and true/false too, are text.
    In a number column NA, nan, null, None, ? and - count as empty.

    Args:
        path: the file, from the folder the command runs in.
        target: the column to predict. Rows without it are an error.
        task: "auto" is classification for a text target and for one of only 0 and 1, regression for other numbers
            (whole numbers may be counts or grades as well as classes).
        separator: what stands between cells; \t for tabs.
        decimal: what stands before a number's fraction.
        columns: the columns to learn from; null takes all but the target.
        exclude: columns to leave out.
        text_columns: columns of numbers that are names of something, a postal code for example.
        max_categories: the most different values a text column may have.

    Raises:
        DataError: the file or a cell in it can't be used; the message names the line and the column.
        ResourceError: the file may not be read.
    """
    file = _File(path, separator)
    for option, names in (
        ("target", [target]),
        ("columns", columns),
        ("exclude", exclude),
        ("text_columns", text_columns),
    ):
        file.check_columns(option, names or [])
    if target in (exclude or []):
        raise DataError(f"data.exclude: holds the target. Received: {target!r}")
    used = [name for name in columns or file.header if name != target and name not in (exclude or [])]
    if not used:
        raise DataError(f"data.columns: no column of {path} is left to learn from but the target {target!r}.")
    cells = file.read([*used, target])
    num_rows = len(cells[target])
    if num_rows < MIN_ROWS:
        rows = "a header but no rows" if num_rows == 0 else f"{num_rows} rows"
        raise DataError(f"data.path: {path} has {rows}; at least {MIN_ROWS} are needed.")

    inputs: dict[str, np.ndarray] = {}
    for name in used:
        numbers = None if name in (text_columns or []) else file.numbers(name, cells[name], decimal)
        inputs[name] = _text(cells[name]) if numbers is None else numbers
        if numbers is None:
            _check_categories(path, name, inputs[name], max_categories)
    labels, numbers = _text(cells[target]), file.numbers(target, cells[target], decimal, require=task == "regression")
    empty = np.array([label == "" for label in labels]) if numbers is None else np.isnan(numbers)
    if empty.any():
        row = int(np.argmax(empty))
        raise DataError(
            f"{file.where(row)}, column {target!r}: the target is empty. Received: {labels[row]!r} "
            f"({int(empty.sum())} such rows)."
        )
    if task == "auto":
        binary = numbers is not None and set(np.unique(numbers)) == {0.0, 1.0}
        task = "classification" if numbers is None or binary else "regression"
    if task == "classification":
        if numbers is not None and (numbers == np.round(numbers)).all():
            labels = np.array([str(int(number)) for number in numbers], dtype=object)  # "1" and "1.0" are one class
        _check_classes(path, target, labels)
        return Table(inputs, labels, target, task, path, first_line=2)
    assert numbers is not None
    _warn_of_target(path, target, numbers)
    return Table(inputs, numbers, target, task, path, first_line=2)


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

    def read(self, names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Returns the columns' cells as trimmed text."""
        raw = [f"column {k}" for k in range(len(self.header))]
        used = [raw[self.header.index(name)] for name in names]
        try:
            table = arrow_csv.read_csv(
                self.path,
                # Names of our own, for the header may hold spaces or a byte-order mark; skip_rows counts its line.
                read_options=arrow_csv.ReadOptions(column_names=raw, skip_rows_after_names=1),
                parse_options=arrow_csv.ParseOptions(delimiter=self.separator, newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=used, column_types=dict.fromkeys(raw, pa.string()), strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid as error:
            self._explain(error)
        cells = {name: pc.utf8_trim_whitespace(table[column]) for name, column in zip(names, used, strict=True)}
        last = "".join(table[column][-1].as_py() for column in used) if table.num_rows else ""
        if "\n" in last and Path(self.path).read_bytes().count(b'"') % 2:
            raise DataError(f"{self.where(table.num_rows - 1)}: a quote is opened and never closed.")
        return cells

    def numbers(self, name: str, cells: pa.ChunkedArray, decimal: str, require: bool = False) -> np.ndarray | None:
        """Returns (N,) float64 with nan for empty cells, or None for a text column.

        Raises DataError where the column is mostly numbers but not all, where a number is infinite and where all cells
        are empty; with `require` for any text.
        """
        empty = pc.is_in(cells, value_set=pa.array(EMPTY_NUMBERS))
        text = pc.if_else(empty, pa.scalar(None, pa.string()), cells)
        num_filled = len(text) - text.null_count
        if num_filled == 0:
            raise DataError(
                f"data.path: column {name!r} of {self.path} is empty. Leave it out with data.exclude=[{name}]"
            )
        if decimal == ",":
            text = pc.replace_substring(text, ",", ".")
        try:
            values = pc.cast(pc.replace_substring_regex(text, r"^\+", ""), pa.float64())
        except pa.ArrowInvalid:
            fits = pc.fill_null(pc.match_substring_regex(text, NUMBER), True).to_numpy(zero_copy_only=False)
            num_bad = int(np.count_nonzero(~fits))
            row, value = int(np.argmin(fits)), cells[int(np.argmin(fits))].as_py()
            if num_bad * 2 <= num_filled or require:
                raise DataError(
                    f"{self.where(row)}, column {name!r}: not a number. Received: {value!r} "
                    f"({num_bad} such cells, {num_filled - num_bad} numbers)."
                ) from None
            with_comma = pc.sum(pc.match_substring_regex(text, r"^[+-]?\d+,\d+$")).as_py() or 0
            if with_comma * 2 >= num_filled:
                raise DataError(
                    f"{self.where(row)}, column {name!r}: numbers with a comma. Received: {value!r}. "
                    "If it is the decimal sign: data.decimal=','"
                ) from None
            return None
        result = values.to_numpy(zero_copy_only=False).astype("float64")
        infinite = np.isinf(result)
        if infinite.any():
            row = int(np.argmax(infinite))
            raise DataError(f"{self.where(row)}, column {name!r}: not finite. Received: {cells[row].as_py()!r}")
        return result

    def where(self, row: int) -> str:
        """Returns `file:line` of a row, counted anew: quoted cells may span lines, and empty lines don't count."""
        for number, (line, _) in enumerate(self._rows()):
            if number == row + 1:
                return f"{self.path}:{line}"
        return self.path

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


def _text(cells: pa.ChunkedArray) -> np.ndarray:
    return np.array(cells.to_pylist(), dtype=object)


def _check_categories(path: str, name: str, values: np.ndarray, max_categories: int) -> None:
    different, half = len(set(values)), max(20, len(values) // 2)
    if different > min(max_categories, half):
        more = f", or raise data.max_categories ({max_categories})" if max_categories < half else ""
        raise DataError(
            f"data.path: text column {name!r} of {path} has {different} different values in {len(values)} rows: ids or "
            f"free text? Leave it out with data.exclude=[{name}]{more}."
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
