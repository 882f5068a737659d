"""Reads the columns of a CSV file block by block, with errors that name the line and the value.

The parser returns cells as text, which is converted to numbers here, so that an error can name its line and value.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from tfrun.components.datasets.checks import existing_file
from tfrun.components.datasets.columns import ColumnFile
from tfrun.components.datasets.csv_cells import Cells, IntegerCells
from tfrun.components.datasets.csv_lines import COMMENT, CsvLines, Header
from tfrun.components.datasets.csv_numbers import SIGNS, NumberFormat
from tfrun.components.datasets.csv_units import describe_signs, options_for, signs_of_numbers
from tfrun.components.datasets.packed import unpacked
from tfrun.components.datasets.paths import versions
from tfrun.components.datasets.stored_columns import MakeSink, Source, read_columns
from tfrun.components.datasets.texts import TextColumn
from tfrun.config.data_paths import expand
from tfrun.data.arrays import StoredArray
from tfrun.data.lazy_texts import LazyTexts
from tfrun.data.sinks import PlannedSink
from tfrun.data.store import Stores
from tfrun.errors import DataError, as_typed

BLOCK_BYTES = 2**20  # the size of the blocks that a file is read in


class CsvFile(ColumnFile):
    """A CSV file, or several of the same columns, whose headers have been read; `open` creates one.

    Attributes:
        path: the file, with ~ replaced by the home folder; of several the first one, and how many more there are.
        header: the names of the columns; "" for a column without one.
        first_line: the line after the header of the first file.
    """

    def __init__(
        self,
        files: Sequence[tuple[CsvLines, Header]],
        *,
        numbers: NumberFormat,
        as_text: Collection[str] = (),
        integers: Collection[str] = (),
        stores: Stores | None = None,
    ):
        lines, header = files[0]
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        self.path = f"{lines.path}{more}"
        self.header = header.names
        self.first_line = header.first_line
        self._where = f"{lines.path}:{header.line}"
        self._header = header
        self._files = files
        self.number_format = numbers
        self._as_text = frozenset(as_text)
        self._integers = frozenset(integers)
        self._stores = stores

    @classmethod
    def open(
        cls,
        path: str | list[str],
        separator: str,
        *,
        numbers: NumberFormat,
        wanted: Collection[str] = (),
        as_text: Collection[str] = (),
        integers: Collection[str] = (),
        stores: Stores | None = None,
    ) -> CsvFile:
        r"""Reads a file's header, or those of several files.

        Args:
            path: the file, or several; see `data_paths.expand`.
            separator: the character between cells; a tab may be written as \t or tab.
            numbers: how numbers are written.
            wanted: names of columns, which tell the header from comments.
            as_text: the columns that the config makes text.
            integers: those of them whose whole numbers are ids.
            stores: where columns go that are too large for the memory, or None.

        Raises:
            DataError: a file isn't there, is empty, isn't UTF-8, or has another header than the first one.
            ResourceError: the file may not be read.
        """
        character = {"\\t": "\t", "tab": "\t"}.get(separator, separator)
        if len(character) != 1:
            raise DataError(f"data.separator: must be one character. Received: {separator!r}")
        files: list[tuple[CsvLines, Header]] = []
        for name in expand(path):
            if Path(name).is_dir():
                pattern = as_typed("data.path", str(Path(name) / "*.csv"))
                raise DataError(
                    f"data.path: must be a file, not a folder. Received: {name!r}. For its files: {pattern}"
                )
            lines = CsvLines(existing_file(name), character, wanted)
            header = lines.header()
            if header is None:
                raise DataError(f"data.path: {name} is empty.")
            files.append((lines, header))
            _check_same_header(files)
        return cls(files, numbers=numbers, as_text=as_text, integers=integers, stores=stores)

    def check_known(self, option: str, names: Sequence[str]) -> None:
        """Raises DataError for a name that the header lacks; `option` as for `ColumnFile.check_known`."""
        where = self._where
        for name in names:
            if name in self.header:
                continue
            separators = [character for character in ",;\t|" if character in self.header[0]]
            if len(self.header) == 1 and separators and not self.header[0].startswith(COMMENT):
                shown = "tab" if separators[0] == "\t" else separators[0]
                remedy = as_typed("data.separator", shown)
                raise DataError(f"{where}: columns are separated by '{shown}': try {remedy}")
            is_comment = self.header[0].startswith(COMMENT)
            hint = f" If line {self._header.line} is a comment, remove it." if is_comment else ""
            raise self.no_such_column(option, name, hint)

    def check_used(self, names: Sequence[str]) -> None:
        """Raises DataError if a column that is read has no name, or the name of another one."""
        where = self._where
        for name in names:
            if name == "":
                raise DataError(
                    f"{where}: column {self.header.index(name) + 1} of the header has no name. "
                    """Leave it out: "data.exclude=['']", or name the others in data.columns."""
                )
            if self.header.count(name) > 1:
                raise DataError(f"{where}: two columns have the same name. Received: {name!r}")

    def read(self, names: Sequence[str], as_text: Collection[str]) -> tuple[int, dict[str, Any]]:
        """Returns the number of rows, and the columns `names` by name.

        A column whose cells are all numbers or missing is (N,) float64, with nan for missing cells; all other columns,
        and those in `as_text`, are text; of these, ids that are whole numbers are `IntegerTexts`.
        """
        max_rows = self._count_lines()
        size = 8.0 * max_rows * len(names)
        if self._stores is None or not self._stores.are_for(size):
            return self._read_anywhere(names, as_text, max_rows=max_rows)
        # a trained run names more columns that are text than the config; these are in the store of the training
        num_rows, columns = self._read_anywhere(names, self._as_text.intersection(names), max_rows=max_rows)
        late = [name for name in as_text if name in columns and not isinstance(columns[name], TextColumn | LazyTexts)]
        return num_rows, columns | {name: self.texts(name, columns[name]) for name in late}

    def _read_anywhere(
        self, names: Sequence[str], as_text: Collection[str], *, max_rows: int
    ) -> tuple[int, dict[str, Any]]:
        """Returns the same, from memory or from a store; `max_rows` is the largest number that there may be."""
        key = {
            "reader": "csv",
            "files": versions([lines.path for lines, _ in self._files]),
            "headers": [[header.line, header.end, header.names] for _, header in self._files],
            "separator": self._files[0][0].separator,
            "numbers": self.number_format.identity(),
            "columns": sorted(names),
            "as_text": sorted(as_text),
        }
        integers = sorted(self._integers.intersection(names, as_text))
        key |= {"integers": integers} if integers else {}
        size = 8.0 * max_rows * len(names)
        source = Source(self.path, key, num_columns=len(names), num_bytes=size, memory_bytes=size)
        read = partial(self._read, names, as_text, integers=integers)
        return read_columns(source, self._stores, read=read, in_memory=lambda dtype: PlannedSink((max_rows,), dtype))

    def _read(
        self, names: Sequence[str], as_text: Collection[str], make_sink: MakeSink, *, integers: Collection[str] = ()
    ) -> tuple[int, dict[str, Any]]:
        """Returns the same, in sinks that `make_sink` makes for a type of numbers; `integers` may be such."""
        columns: dict[str, IntegerCells | Cells] = {
            name: IntegerCells(make_sink)
            if name in integers
            else Cells(self.number_format, make_sink, is_text=name in as_text)
            for name in names
        }
        num_rows = 0
        for batch in self._batches(names):
            for name, cells in zip(names, batch.columns, strict=True):
                columns[name].add(pc.utf8_trim_whitespace(cells))
            num_rows += len(batch)
        finished = {name: column.finish() for name, column in columns.items()}
        late_text = [name for name, column in finished.items() if column is None]
        if late_text:  # read again, since cells that became numbers have lost their texts
            finished |= self._read(late_text, late_text, make_sink)[1]
        infinite = {name: columns[name].first_infinite for name in names if isinstance(finished[name], StoredArray)}
        for name, row in infinite.items():
            if row is not None:
                raise self.not_finite(name, row)
        return num_rows, finished

    def texts(self, name: str, column: Any) -> TextColumn:
        texts: TextColumn = self._read_anywhere([name], [name], max_rows=self._count_lines())[1][name]
        return texts

    def stored_batches(self, names: Sequence[str], kept: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields the rows of the columns block by block, as texts; a column without a name may be kept."""
        columns = list(dict.fromkeys([*names, *kept]))
        for batch in self._batches(columns):
            yield batch.rename_columns(columns)

    def converted(
        self, name: str, cells: Sequence[pa.StringArray], *, as_text: bool, first_row: int
    ) -> np.ndarray | TextColumn:
        """Returns cells as `read` would; `first_row` doesn't matter, as `numbers` finds cells in the whole file."""
        trimmed = [pc.utf8_trim_whitespace(block) for block in cells]
        if not as_text:
            parsed = [self.number_format.read(block) for block in trimmed]
            numbers = [values for values in parsed if values is not None]
            if len(numbers) == len(parsed):
                return np.concatenate(numbers)
        text = TextColumn()
        for block in trimmed:
            text.add(block)
        return text

    def _count_lines(self) -> int:
        """Returns the number of lines, the largest number of rows that the files may have."""
        count = len(self._files)
        for lines, _ in self._files:
            with unpacked(lines.path) as file:
                while block := file.read(BLOCK_BYTES):
                    count += block.count(b"\n") + block.count(b"\r") - block.count(b"\r\n")
        return count

    def _batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields the rows of the columns block by block, as text, file after file."""
        for lines, header in self._files:
            last_row = ""
            for batch in self._batches_of(lines, header, names=names):
                yield batch
                last_row = "".join(cells[-1].as_py() for cells in batch.columns) if len(batch) else last_row
            if "\n" in last_row and lines.has_open_quote():
                *_, (line, _) = lines.rows()
                raise DataError(f"{lines.path}:{line}: a quote is opened and never closed.")

    def _batches_of(self, lines: CsvLines, header: Header, *, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        all_columns = [f"column {k}" for k in range(len(self.header))]
        used = [all_columns[self.header.index(name)] for name in names]
        with unpacked(lines.path) as file:
            # Arrow begins after the header: it doesn't know blank lines and comments before it
            file.read(header.end)
            if not file.peek(1):  # type: ignore[attr-defined] # all of them are buffered
                return
            try:
                yield from arrow_csv.open_csv(
                    file,
                    read_options=arrow_csv.ReadOptions(column_names=all_columns, block_size=BLOCK_BYTES),
                    parse_options=arrow_csv.ParseOptions(
                        delimiter=lines.separator,
                        newlines_in_values=True,
                        # in a file of one column, an empty line is a row whose cell is empty
                        ignore_empty_lines=len(all_columns) > 1,
                    ),
                    convert_options=arrow_csv.ConvertOptions(
                        include_columns=used,
                        column_types=dict.fromkeys(all_columns, pa.string()),
                        strings_can_be_null=False,
                    ),
                )
            except pa.ArrowInvalid as error:
                lines.explain_cells(len(header.names))  # with the line, which Arrow doesn't name
                raise DataError(f"data.path: {lines.path} can't be read: {error}") from None

    def numbers(self, name: str, text: TextColumn, *, require: bool = False, hint: str = "") -> np.ndarray | None:
        """Returns a text column as numbers, (N,) float64, or None if it holds text.

        Args:
            name: the column's name.
            text: its cells.
            require: whether any text is an error.
            hint: a sentence for the message about a cell that isn't a number.

        Raises:
            DataError: the column is mostly numbers, in this or another way of writing them.
        """
        numbers, values = self.number_format, pa.array(text.values, pa.string())
        indices, counts = text.indices(), text.counts()
        read = numbers.read(values)
        if read is not None:
            return self.check_numbers(name, read[indices])
        is_number = numbers.is_number(values)
        is_grouped, has_other_sign = numbers.is_grouped(values), numbers.has_other_sign(values)
        is_foreign = ~is_number & (is_grouped | has_other_sign)
        num_filled = int(counts[~numbers.is_missing(values)].sum())
        num_bad = int(counts[~is_number & ~is_foreign].sum())
        if num_bad * 2 > num_filled and not require:
            return None
        row = int(np.argmin(is_number[indices]))
        where, cell = self.find(row, name)
        if is_foreign[indices[row]]:
            may_be_grouped = bool(is_grouped[is_foreign].all())
            raise DataError(f"{where}, column {name!r}: {_two_ways(cell, numbers, may_be_grouped)}")
        num_wrong = int(counts[~is_number].sum())
        if np.count_nonzero(~is_number) == 1:
            hint = f" If it means that there is no value: {as_typed('data.missing', [cell])}.{hint}"
        signs = signs_of_numbers([cell], numbers.decimal)
        if signs:
            said = f"It looks like a number with {describe_signs(signs)}; remove such signs with {options_for(signs)}."
            hint = f" {said}{hint}"
        raise DataError(
            f"{where}, column {name!r}: not a number. Received: {cell!r} "
            f"({num_wrong} such cells, {num_filled - num_wrong} numbers).{hint}"
        )

    def find(self, row: int, name: str | None = None) -> tuple[str, str]:
        """Returns `file:line` of a row, and the row's cell in column `name`."""
        rows = ((lines.path, line, cells) for lines, _ in self._files for line, cells in lines.rows())
        for path, line, cells in itertools.islice(rows, row, row + 1):
            return f"{path}:{line}", cells[self.header.index(name)].strip() if name else ""
        return self.path, ""


def _check_same_header(files: Sequence[tuple[CsvLines, Header]]) -> None:
    """Raises DataError if the last file has other columns than the first one."""
    (first, known), (last, header) = files[0], files[-1]
    if header.names != known.names:
        raise DataError(
            f"{last.path}:{header.line}: must have the header of {first.path}, {', '.join(known.names)}. "
            f"Received: {', '.join(header.names)}"
        )


def _two_ways(cell: str, numbers: NumberFormat, may_be_grouped: bool) -> str:
    """Returns the message about a number with the sign that isn't data.decimal.

    Args:
        cell: the number.
        numbers: how numbers are written in the file, by the config.
        may_be_grouped: whether the sign could separate thousands in all such cells of the column.
    """
    sign, decimal, other = SIGNS[numbers.other], numbers.decimal, numbers.other
    parts = [f"numbers with a {sign}. Received: {cell!r}."]
    if decimal == ",":
        parts.append("data.decimal is ','.")
    if may_be_grouped or decimal == ",":
        parts.append(f"If the {sign} separates thousands: {as_typed('data.thousands', other)}.")
    if decimal not in cell and cell.count(other) == 1:
        as_comma = f"write a comma ({cell.replace(other, ',')}), or {as_typed('data.decimal', '.')}"
        parts.append(
            f"If it is the decimal sign, {as_comma}"
            if decimal == ","
            else f"If it is the decimal sign: {as_typed('data.decimal', ',')}"
        )
    return " ".join(parts)
