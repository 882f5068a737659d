"""Writes a file of predictions piece by piece; it takes the place of an earlier one once it is whole."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from tfrun.components.datasets.arrow_types import Kind, UnusableError, to_texts
from tfrun.errors import ConfigError, ResourceError
from tfrun.files import disk
from tfrun.files.failpoints import reach
from tfrun.files.prediction_formats import format_of

NEEDS_QUOTES = '[",\r\n]'
GZIP_LEVEL = 6
NAME = "predictions"  # of the failpoints


class _Writer(Protocol):
    """Writes the rows of tables of the same columns, one table after the other."""

    def write_table(self, table: pa.Table) -> None:
        """Writes rows. Raises OSError if the disk refuses."""

    def close(self) -> None:
        """Writes what readers need at the end. Raises OSError if the disk refuses."""


class PredictionFile:
    """A file that is being written; `open` creates one.

    Args:
        path: the file that it will be, for messages; its ending is the format.
        file: where its bytes go.
        formats: how numbers that are predicted become text, by column; others have all of their digits. Only CSV is
            text.

    Attributes:
        names: of the columns, once rows are written.
    """

    def __init__(self, path: Path, file: IO[bytes], *, formats: Mapping[str, str]):
        self.names: list[str] = []
        self._path = path
        self._file = file
        self._formats = formats
        self._writer: _Writer | None = None

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, *, formats: Mapping[str, str]) -> Iterator[PredictionFile]:
        """Opens a file beside `path`, and renames it once all is written; if there is an error, nothing is left of it.

        Raises:
            ResourceError: the disk refuses.
        """
        temporary = disk.temporary_path(path)
        try:
            with _refusals(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                disk.remove_left_behind(path.parent, path.name)
                file = disk.open_file(temporary, "wb")
            try:
                opened = cls(path, file, formats=formats)
                yield opened
                opened._finish()
            finally:
                with contextlib.suppress(OSError):  # all is synced, or the error has been raised
                    file.close()
            with _refusals(path):
                disk.rename(temporary, path, name=NAME)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    def write(self, kept: Mapping[str, Any], predicted: Mapping[str, Any]) -> None:
        """Writes rows.

        Args:
            kept: columns of the input, (N,) each, which come first.
            predicted: the other columns. One that has the name of a kept one is called `predicted_<name>`.

        Raises:
            ConfigError: a kept column can't be written as text.
            ResourceError: the disk refuses.
        """
        named = dict(zip(free_names(list(predicted), taken=kept), predicted, strict=True))
        arrays = {name: _chunked(cells) for name, cells in kept.items()}
        arrays |= {new: _chunked(predicted[name]) for new, name in named.items()}
        table = pa.table(list(arrays.values()), names=list(arrays))
        if self._writer is None:
            self.names = list(arrays)
            formats = {new: self._formats.get(name) for new, name in named.items()}
            with _refusals(self._path):
                self._writer = self._begin(table.schema, formats)
        with _refusals(self._path):
            reach(f"{NAME}.write", is_operation=True)
            self._writer.write_table(table)

    def _begin(self, schema: pa.Schema, formats: Mapping[str, str | None]) -> _Writer:
        """Returns what writes in the file's format; `formats` are those of the predicted columns."""
        format = format_of(self._path)
        if format == "parquet":
            return cast(_Writer, parquet.ParquetWriter(self._file, schema))
        if format == "arrow":
            return cast(_Writer, pa.ipc.new_file(self._file, schema))
        return CsvWriter(self._file, schema.names, formats=formats, is_packed=format == "csv.gz")

    def _finish(self) -> None:
        """Returns once all is on the disk."""
        with _refusals(self._path):
            if self._writer is not None:
                self._writer.close()
            disk.sync(self._file, NAME)


class CsvWriter:
    """Writes CSV: texts that are predicted in quotes, and kept cells as they are, in quotes only if they need them.

    Args:
        file: where it goes.
        names: of all columns.
        formats: the predicted columns, and how their numbers become text.
        is_packed: whether the file is compressed by gzip.
    """

    def __init__(
        self, file: IO[bytes], names: Sequence[str], *, formats: Mapping[str, str | None], is_packed: bool = False
    ):
        # without the time, so that the same rows give the same file
        packed = gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) if is_packed else None
        self._packed = packed
        self._file = packed or file
        self._formats = formats
        self._file.write((",".join(_quoted_name(name) for name in names) + "\n").encode())

    def write_table(self, table: pa.Table) -> None:
        """Writes rows. Raises ConfigError for a kept column that can't be text, OSError if the disk refuses."""
        cells = [
            _predicted_texts(column, self._formats[name]) if name in self._formats else _kept_texts(name, column)
            for name, column in zip(table.column_names, table.columns, strict=True)
        ]
        if table.num_rows:
            ends = pa.scalar("\n", pa.large_string())
            lines = pc.binary_join_element_wise(*cells, pa.scalar(",", pa.large_string()))
            ended = pc.binary_join_element_wise(lines, pa.scalar("", pa.large_string()), ends)
            _, offsets, content = ended.buffers()
            self._file.write(content[: int(np.frombuffer(offsets, np.int64)[table.num_rows])])

    def close(self) -> None:
        """Writes the end of a compressed file; the file itself stays open."""
        if self._packed is not None:
            self._packed.close()


def free_names(names: Sequence[str], *, taken: Mapping[str, Any]) -> list[str]:
    """Returns names of predicted columns, `predicted_<name>` for those that are taken by kept columns."""
    free: list[str] = []
    for name in names:
        new = name
        while new in taken or (new != name and (new in names or new in free)):
            new = f"predicted_{new}"
        free.append(new)
    return free


def _chunked(cells: Any) -> pa.ChunkedArray:
    return cells if isinstance(cells, pa.ChunkedArray) else pa.chunked_array([pa.array(cells)])


def _predicted_texts(column: pa.ChunkedArray, format: str | None) -> pa.LargeStringArray:
    """Returns predicted numbers or classes as text; `format` is Python's, with %, and None has all digits."""
    if pa.types.is_string(column.type):
        return _quoted(_large(column))
    if format is None:
        return _large(pc.cast(column, pa.string()))
    numbers = column.to_numpy().tolist()
    texts = (f"{format}\n" * len(numbers) % tuple(numbers)).split("\n")[:-1]
    without_sign = pc.replace_substring_regex(pa.array(texts, pa.string()), r"^-(0(\.0*)?)$", r"\1")
    return without_sign.cast(pa.large_string())


def _kept_texts(name: str, column: pa.ChunkedArray) -> pa.LargeStringArray:
    """Returns cells of the input as text. Raises ConfigError if they have none."""
    try:
        is_text = pa.types.is_string(column.type) or pa.types.is_decimal(column.type)
        if not is_text and Kind.of(column.type).name == "array":
            raise UnusableError("is of lists")
        texts = pc.fill_null(column.cast(pa.string()), "") if is_text else to_texts(column)
    except UnusableError:
        raise ConfigError(
            f"keep: a CSV file has no cells for {column.type}. Received: {name!r}. "
            "Name other columns in keep=[NAME,NAME], or write another format: out=FILE.parquet"
        ) from None
    cells = _large(texts)
    needs_quotes = pc.match_substring_regex(cells, NEEDS_QUOTES)
    return pc.if_else(needs_quotes, _quoted(cells), cells) if pc.any(needs_quotes).as_py() else cells


def _large(texts: pa.StringArray | pa.ChunkedArray) -> pa.LargeStringArray:
    """Returns texts as one array, which may have more than 2 GiB."""
    large = texts.cast(pa.large_string())
    return pa.concat_arrays(large.chunks) if isinstance(large, pa.ChunkedArray) else large


def _quoted(cells: pa.LargeStringArray) -> pa.LargeStringArray:
    quote = pa.scalar('"', pa.large_string())
    inside = pc.replace_substring(cells, '"', '""')
    return pc.binary_join_element_wise(quote, inside, quote, pa.scalar("", pa.large_string()))


def _quoted_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextlib.contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Raises ResourceError for an OSError: the disk refuses to write the file."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ResourceError(f"out: {path} can't be written: {reason}. out=FILE.csv names another file") from error
