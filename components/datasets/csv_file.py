"""Reads the columns of a CSV file block by block, with errors that name the line and the value.

The parser returns cells as text, which is converted to numbers here, so that an error can name its line and value.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from tfrun.components.datasets.checks import existing_file
from tfrun.data.arrays import give_back
from tfrun.errors import DataError, near_miss

# the cells of a number column that count as empty
EMPTY_NUMBERS = pa.array(["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A", "?", "-"])
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
BLOCK_BYTES = 2**20  # the size of the blocks that a file is read in


class TextColumn:
    """Stores a column's cells as indices into its different texts, so that equal cells share one string."""

    def __init__(self) -> None:
        self._index_of: dict[str, int] = {}
        self._blocks: list[np.ndarray] = []

    def add(self, cells: pa.StringArray) -> None:
        """Appends the cells of a block."""
        encoded = cells.dictionary_encode()
        indices = [self._index_of.setdefault(text, len(self._index_of)) for text in encoded.dictionary.to_pylist()]
        self._blocks.append(np.array(indices, dtype=np.int32)[encoded.indices.to_numpy()])

    @property
    def values(self) -> list[str]:
        """The different texts, in the order of their first cells."""
        return list(self._index_of)

    def indices(self) -> np.ndarray:
        """Returns the index in `values` of each cell's text, (N,) int32."""
        return np.concatenate(self._blocks)

    def array(self) -> np.ndarray:
        """Returns the cells, (N,) object of str."""
        return np.array(self.values, dtype=object)[self.indices()]


class CsvFile:
    """A CSV file whose header has been read; `open` creates one.

    Attributes:
        path: the file, with ~ replaced by the home folder.
        separator: the character between cells.
        header: the names of the columns.
    """

    def __init__(self, path: str, separator: str, header: Sequence[str] = ()):
        self.path = path
        self.separator = separator
        self.header = list(header)

    @classmethod
    def open(cls, path: str, separator: str) -> CsvFile:
        r"""Reads a file's header.

        Args:
            path: the file.
            separator: the character between cells; a tab may be written as \t or tab.

        Raises:
            DataError: the file isn't there, is empty or isn't UTF-8, or its header has unnamed or repeated columns.
            ResourceError: the file may not be read.
        """
        real_path = existing_file(path)
        character = {"\\t": "\t", "tab": "\t"}.get(separator, separator)
        if len(character) != 1:
            raise DataError(f"data.separator: must be one character. Received: {separator!r}")
        first_row = next(cls(real_path, character)._rows(), (1, []))[1]
        header = [name.strip() for name in first_row]
        if not header:
            raise DataError(f"data.path: {path} is empty.")
        for k, name in enumerate(header):
            if name == "":
                raise DataError(f"{path}:1: column {k + 1} of the header has no name.")
            if name in header[:k]:
                raise DataError(f"{path}:1: two columns have the same name. Received: {name!r}")
        return cls(real_path, character, header)

    def check_columns(self, option: str, names: Sequence[str]) -> None:
        """Raises DataError for a name that the header lacks; `option` is the config key that holds the names."""
        for name in names:
            if name in self.header:
                continue
            separators = [character for character in ",;\t|" if character in self.header[0]]
            if len(self.header) == 1 and separators:
                shown = "\\t" if separators[0] == "\t" else separators[0]
                raise DataError(f"{self.path}:1: columns are separated by '{shown}': try data.separator='{shown}'")
            known = ", ".join(self.header)
            hint = near_miss(name, self.header)
            raise DataError(f"data.{option}: no such column in {self.path}. Received: {name!r}. Known: {known}.{hint}")

    def read(
        self, names: Sequence[str], as_text: Collection[str], decimal: str
    ) -> tuple[int, dict[str, np.ndarray | TextColumn]]:
        """Returns the number of rows, and the columns `names` by name.

        A column whose cells are all numbers or empty is (N,) float64, with nan for empty cells; all other columns, and
        those in `as_text`, are text.
        """
        max_rows = self._count_lines()
        columns: dict[str, np.ndarray | TextColumn] = {
            # the part of an array that is never written to takes up no memory
            name: TextColumn() if name in as_text else np.empty(max_rows)
            for name in names
        }
        num_rows = 0
        late_text: list[str] = []  # columns that begin with numbers and turn out to be text
        last_row = ""
        for batch in self._batches(names):
            rows = slice(num_rows, num_rows + len(batch))
            for name, raw in zip(names, batch.columns, strict=True):
                column, cells = columns[name], pc.utf8_trim_whitespace(raw)
                if isinstance(column, TextColumn):
                    column.add(cells)
                elif name not in late_text:
                    numbers = _to_numbers(cells, decimal)
                    if numbers is not None:
                        column[rows] = numbers
                    elif num_rows == 0:
                        columns[name] = text = TextColumn()
                        text.add(cells)
                    else:
                        late_text.append(name)
            num_rows = rows.stop
            last_row = "".join(cells[-1].as_py() for cells in batch.columns) if len(batch) else last_row
        pa.default_memory_pool().release_unused()
        give_back()  # before TensorFlow needs memory too
        if "\n" in last_row and self._has_open_quote():
            raise DataError(f"{self.find(num_rows - 1)[0]}: a quote is opened and never closed.")
        for name, column in columns.items():
            columns[name] = column if isinstance(column, TextColumn) else column[:num_rows]
        if late_text:  # read again, since cells that became numbers have lost their text
            columns |= self.read(late_text, late_text, decimal)[1]
        return num_rows, columns

    def _has_open_quote(self) -> bool:
        return Path(self.path).read_bytes().count(b'"') % 2 == 1

    def _count_lines(self) -> int:
        """Returns the number of lines, the largest number of rows that the file may have."""
        count = 1
        with open(self.path, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                count += block.count(b"\n") + block.count(b"\r") - block.count(b"\r\n")
        return count

    def _batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields the rows of the columns block by block, as text."""
        all_columns = [f"column {k}" for k in range(len(self.header))]
        used = [all_columns[self.header.index(name)] for name in names]
        try:
            yield from arrow_csv.open_csv(
                self.path,
                # Not the header's names, which may hold spaces or a byte-order mark; the header is skipped as a row.
                read_options=arrow_csv.ReadOptions(
                    column_names=all_columns, skip_rows_after_names=1, block_size=BLOCK_BYTES
                ),
                parse_options=arrow_csv.ParseOptions(delimiter=self.separator, newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=used,
                    column_types=dict.fromkeys(all_columns, pa.string()),
                    strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid as error:
            self._explain(error)

    def numbers(self, name: str, text: TextColumn, decimal: str, require: bool = False) -> np.ndarray | None:
        """Returns a text column as numbers, (N,) float64, or None if it holds text.

        Raises:
            DataError: the column is mostly numbers, or mostly numbers with a comma; with `require`, it holds any text.
        """
        values = pa.array(text.values, pa.string())
        indices = text.indices()
        numbers = _to_numbers(values, decimal)
        if numbers is not None:
            return self.check_numbers(name, numbers[indices])
        values = _without_empty(values, decimal)
        counts = np.bincount(indices, minlength=len(values))
        num_filled = int(counts[values.is_valid()].sum())
        is_number = np.array(pc.fill_null(pc.match_substring_regex(values, NUMBER), True))
        num_bad = int(counts[~is_number].sum())
        row = int(np.argmin(is_number[indices]))
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
        """Returns the numbers. Raises DataError if one of them is infinite or all are nan."""
        if np.isnan(numbers).all() and len(numbers):
            raise DataError(
                f"data.path: column {name!r} of {self.path} is empty. Leave it out with data.exclude=[{name}]"
            )
        return self.check_finite(name, numbers)

    def check_finite(self, name: str, numbers: np.ndarray) -> np.ndarray:
        """Returns the numbers, nan for empty cells. Raises DataError if one of them is infinite."""
        infinite = np.isinf(numbers)
        if infinite.any():
            where, cell = self.find(int(np.argmax(infinite)), name)
            raise DataError(f"{where}, column {name!r}: not finite. Received: {cell!r}")
        return numbers

    def find(self, row: int, name: str | None = None) -> tuple[str, str]:
        """Returns `file:line` of a row, and the row's cell in column `name`.

        The lines are counted from the start of the file, since quoted cells may span lines and empty lines aren't rows.
        """
        for line, cells in itertools.islice(self._rows(), row + 1, row + 2):
            return f"{self.path}:{line}", cells[self.header.index(name)].strip() if name else ""
        return self.path, ""

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yields (line, cells) of each row, the header first. Raises DataError if the file isn't UTF-8 text."""
        try:
            with open(self.path, encoding="utf-8-sig", newline="") as lines:
                reader = csv.reader(lines, delimiter=self.separator)
                line = 1
                for row in reader:
                    if row:
                        yield line, row
                    line = reader.line_num + 1
        except UnicodeDecodeError:
            self._explain_encoding()
        except csv.Error as error:
            raise DataError(f"{self.path}:{line}: {error}") from None

    def _explain_encoding(self) -> NoReturn:
        """Raises the DataError that names the first byte which isn't UTF-8."""
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
        """Raises the DataError for rows that Arrow can't parse, with the line, which Arrow doesn't name."""
        for line, row in self._rows():
            if len(row) != len(self.header) and any("\n" in cell for cell in row) and self._has_open_quote():
                raise DataError(f"{self.path}:{line}: a quote is opened and never closed.") from None
            if len(row) != len(self.header):
                raise DataError(
                    f"{self.path}:{line}: {len(row)} cells where the header has {len(self.header)}. "
                    f"Received: {self.separator.join(row)[:80]!r}"
                ) from None
        raise DataError(f"data.path: {self.path} can't be read: {error}") from None


def _to_numbers(cells: pa.StringArray, decimal: str) -> np.ndarray | None:
    """Returns cells as (N,) float64 with nan for empty ones, or None if one of them isn't a number."""
    text = _without_empty(cells, decimal)
    # without a leading +, which Arrow refuses, only if the first try fails: the replacement is slow
    for clean in (lambda text: text, lambda text: pc.replace_substring_regex(text, r"^\+", "")):
        try:
            return pc.cast(clean(text), pa.float64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            pass
    return None


def _without_empty(cells: pa.StringArray, decimal: str) -> pa.StringArray:
    """Returns the cells with null for those that count as empty, and with a point as the decimal sign."""
    text = pc.if_else(pc.is_in(cells, value_set=EMPTY_NUMBERS), pa.scalar(None, pa.string()), cells)
    return pc.replace_substring(text, ",", ".") if decimal == "," else text
