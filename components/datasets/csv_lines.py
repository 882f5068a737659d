"""Reads the lines of a CSV file: its header, and single rows for messages. Arrow, which is faster, reads the columns.

A row's line is that of its first cell: quoted cells may span lines, and blank lines are no rows.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from tfrun.components.datasets.formats import NUM_START, advice_for
from tfrun.components.datasets.packed import unpacked
from tfrun.errors import DataError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
COMMENT = "#"
SEPARATOR_HINT = re.compile("sep=.?")
LINE_CHARACTERS = 2**24  # a longer line is no table's
BLOCK_BYTES = 2**20  # to read at once


@dataclass(frozen=True)
class Header:
    """Where a CSV file's header is.

    Attributes:
        names: of the columns, trimmed; a column without a name has "".
        line: the header's line, from 1 on.
        first_line: the line after it.
        end: the offset of the byte after it.
    """

    names: list[str]
    line: int
    first_line: int
    end: int


class CsvLines:
    """The rows of a file as Python's csv reads them.

    Args:
        path: a file that can be opened.
        separator: the character between cells.
        wanted: names of columns, of which the header has some if it is the right one.
    """

    def __init__(self, path: str, separator: str, wanted: Collection[str] = ()):
        self.path = path
        self.separator = separator
        self._wanted = set(wanted)

    def header(self) -> Header | None:
        """Returns the first row that isn't blank and is no comment; None if there is none.

        A line that begins with # is a comment if it has another number of cells than the first line that doesn't. Of
        lines with the same number, the header is the one with the most wanted names. If none has any, it is the first
        of them, but in a file of one column the first without a #. A first line such as sep=; is for spreadsheets.

        Raises:
            DataError: the file isn't UTF-8 text.
        """
        comments: list[Header] = []  # a header may begin with # too
        line, end = 1, len(BYTE_ORDER_MARK) if self._begins_with(BYTE_ORDER_MARK) else 0
        for next_line, size, cells in self._rows():
            end += size
            names = [cell.strip() for cell in cells]
            is_hint = line == 1 and SEPARATOR_HINT.fullmatch(self.separator.join(names)) is not None
            if any(names) and not is_hint:
                header = Header(names, line, next_line, end)
                if not names[0].startswith(COMMENT):
                    alike = [comment for comment in comments if len(comment.names) == len(names)]
                    unnamed = alike[0] if alike and len(names) > 1 else header
                    return self._wanted_of([*alike, header]) or unnamed
                # of the others, only the first of each number of cells can be the header
                if self._num_wanted(header) or all(len(comment.names) != len(names) for comment in comments):
                    comments.append(header)
            line = next_line
        return self._wanted_of(comments) or next(iter(comments), None)

    def _wanted_of(self, headers: Sequence[Header]) -> Header | None:
        """Returns the header that has the most wanted names, the first of several such; None if none has any."""
        best = max(headers, key=self._num_wanted, default=None)
        return best if best is not None and self._num_wanted(best) else None

    def _num_wanted(self, header: Header) -> int:
        return len(self._wanted.intersection(header.names))

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yields (line, cells) of each row after the header. In a file of one column, an empty line is a row too.

        Raises:
            DataError: the file isn't UTF-8 text, or a row can't be read.
        """
        header = self.header()
        if header is None:
            return
        line, is_single = 1, len(header.names) == 1
        for next_line, _, cells in self._rows():
            if line > header.line and (cells or is_single):
                yield line, cells or [""]
            line = next_line

    def _rows(self) -> Iterator[tuple[int, int, list[str]]]:
        """Yields (the line after it, its size in bytes, its cells) of each row, those of blank lines included."""
        size = 0
        line = 1

        def lines() -> Iterator[str]:
            nonlocal size
            with unpacked(self.path) as content, io.TextIOWrapper(content, "utf-8-sig", newline="") as file:
                while text := file.readline(LINE_CHARACTERS):
                    if len(text) == LINE_CHARACTERS:
                        raise DataError(f"{self.path}:{line}: a line of more than {LINE_CHARACTERS:,} characters")
                    size += len(text.encode())
                    yield text

        try:
            reader = csv.reader(lines(), delimiter=self.separator)
            for cells in reader:
                before, size = size, 0
                line = reader.line_num + 1
                yield line, before, cells
        except UnicodeDecodeError:
            self._explain_encoding()
        except csv.Error as error:
            raise DataError(f"{self.path}:{line}: {error}") from None

    def _begins_with(self, start: bytes) -> bool:
        with unpacked(self.path) as file:
            return file.read(len(start)) == start

    def _start(self) -> bytes:
        with unpacked(self.path) as file:
            return file.read(NUM_START)

    def _explain_encoding(self) -> NoReturn:
        """Raises the DataError that names the first byte which isn't UTF-8."""
        decoder, line, offset = codecs.getincrementaldecoder("utf-8")(), 1, 0
        with unpacked(self.path) as file:
            while True:
                block = file.read(BLOCK_BYTES)
                held, _ = decoder.getstate()  # the start of a character that the block before ends within
                data = held + block
                try:
                    decoder.decode(block, final=not block)
                except UnicodeDecodeError as error:
                    line += block.count(b"\n", 0, max(0, error.start - len(held)))
                    advice = advice_for(self.path, self._start()) or " Save the file as UTF-8."
                    raise DataError(
                        f"{self.path}:{line}: not UTF-8 text. Received: byte {data[error.start]:#04x} at offset "
                        f"{offset - len(held) + error.start}.{advice}"
                    ) from None
                if not block:
                    break
                line, offset = line + block.count(b"\n"), offset + len(block)
        raise DataError(f"data.path: {self.path} can't be read as UTF-8 text.")

    def has_open_quote(self) -> bool:
        """Returns whether the file has an odd number of quotes."""
        with unpacked(self.path) as file:
            return sum(block.count(b'"') for block in iter(lambda: file.read(BLOCK_BYTES), b"")) % 2 == 1

    def explain_cells(self, num_columns: int) -> None:
        """Raises the DataError for the first row with another number of cells, if any."""
        for line, row in self.rows():
            if len(row) == num_columns:
                continue
            if any("\n" in cell for cell in row) and self.has_open_quote():
                raise DataError(f"{self.path}:{line}: a quote is opened and never closed.") from None
            raise DataError(
                f"{self.path}:{line}: {len(row)} cells where the header has {num_columns}. "
                f"Received: {self.separator.join(row)[:80]!r}"
            ) from None
