"""Defines `parquet`, a data set in files of Arrow's formats: Parquet, Arrow IPC, Feather."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import pyarrow as pa
from annotated_types import Gt

from tfrun import register
from tfrun.components.datasets.arrow_file import ArrowFile
from tfrun.components.datasets.arrow_shards import ArrowShard, ParquetShard, open_shards
from tfrun.components.datasets.arrow_types import decoded_type
from tfrun.components.datasets.columns import ColumnOptions, read_table
from tfrun.components.datasets.paths import versions
from tfrun.components.datasets.pieces import read_pieces
from tfrun.data.pieces import Keep, RowPieces
from tfrun.data.store import Stores
from tfrun.data.table import Table, TrainedColumns
from tfrun.errors import DataError, as_typed


@register.dataset("parquet")
def parquet(
    path: str | list[str],
    target: str | list[str],
    task: Literal["auto", "regression", "classification"] = "auto",
    columns: list[str] | None = None,
    exclude: list[str] | None = None,
    text_columns: list[str] | None = None,
    max_categories: Annotated[int, Gt(0)] = 1000,
    missing: list[str] | None = [],  # noqa: B006 (the catalog reads literal defaults; never changed)
    text_encodings: Mapping[str, Mapping[str, Any]] = {},  # noqa: B006
    column_kinds: Mapping[str, str] = {},  # noqa: B006
    rows_only: bool = False,
    trained_columns: TrainedColumns | None = None,
    stores: Stores | None = None,
    in_pieces: Keep | None = None,
) -> Table | RowPieces:
    """Reads Parquet files, Arrow IPC or Feather files, or a folder that Hugging Face's `save_to_disk` has written.

    Numbers and decimals are number columns, null and nan are missing. Texts, true/false and dates (as 2024-01-31) are
    text columns, in which null and "" are missing. Lists of one length are arrays.

    Args:
        path: the file, relative to the folder that the command runs in; or a folder of files, a pattern such as
            'shards/*.parquet', or a list of these. The rows of several files follow each other by the files' names.
        target: the column to predict, or several for model=multi_task, the main one first. For rows without a target
            see data.missing_target.
        task: "auto" is classification for a target of texts or true/false and for one of only 0 and 1, and regression
            for other numbers (whole numbers may be counts or grades as well as classes).
        columns: the columns to learn from; null takes all except the target.
        exclude: columns to leave out.
        text_columns: columns of numbers that are names of something, for example postal codes.
        max_categories: the largest number of different values of a text column that data.text doesn't name.
        missing: more cells that count as missing, for example ['-999', x]; null: in a target of texts, only the empty
            one does.
        text_encodings: the encodings of the columns that the config makes texts; set by the engine.
        column_kinds: the kinds of the columns that the config names; set by the engine.
        rows_only: whether to read rows without a target; set by the engine.
        trained_columns: the columns of the run that the rows are for; set by the engine. Then the files may have
            further columns, and columns, exclude, text_columns, max_categories and task don't matter.
        stores: where columns are kept that are too large for the memory; set by the engine.
        in_pieces: the columns to keep if the rows are wanted a piece at a time; set by the engine.

    Raises:
        DataError: a file or a cell in it can't be used; the message names the file, the row and the column.
        ResourceError: a file may not be read.
    """
    options = ColumnOptions(
        target=target,
        task=task,
        columns=columns,
        exclude=exclude,
        text_columns=text_columns,
        max_categories=max_categories,
        missing=missing,
        text_encodings=text_encodings,
        kinds=column_kinds,
        rows_only=rows_only,
        trained=trained_columns,
        stores=stores,
    )
    file = ParquetFiles(path, open_shards(path), options)
    return read_table(file, options) if in_pieces is None else read_pieces(file, options, in_pieces)


class ParquetFiles(ArrowFile):
    """The rows of several files, one after the other.

    Args:
        path: data.path.
        shards: the files, opened.
        options: the config's.
    """

    def __init__(self, path: str | list[str], shards: Sequence[ArrowShard], options: ColumnOptions):
        name = shards[0].path if len(shards) == 1 else path if isinstance(path, str) else ", ".join(path)
        super().__init__(name, _joint_schema(shards), options)
        self._shards = shards
        self.leave_out_index(options)
        if options.columns is None and options.trained is None:
            self._refuse_further_columns(options.exclude or [], options.targets)

    def _refuse_further_columns(self, excluded: Sequence[str], targets: Sequence[str]) -> None:
        """Raises DataError if a file has a column that the first one lacks."""
        for shard in self._shards[1:]:
            for name in shard.schema.names:
                if name not in self.header and name not in excluded:
                    first = self._shards[0].path
                    raise DataError(
                        f"{shard.path}: has a column that {first} doesn't have. Received: {name!r}. To leave it out: "
                        f"{as_typed('data.columns', [column for column in self.header if column not in targets])}"
                    )

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for shard in self._shards:
            self._check_shard(shard, names)
        for shard in self._shards:
            yield from shard.batches(names)

    def kept_types(self, names: Sequence[str]) -> dict[str, pa.DataType]:
        """Returns the types of columns that are kept: one for all files."""
        for shard in self._shards:
            self._check_there(shard, names)
        return {name: self._kept_type(name) for name in names}

    def _kept_type(self, name: str) -> pa.DataType:
        """Returns the type that all files have, or that holds the cells of all. Raises DataError if there is none."""
        first, joint = self._shards[0].path, decoded_type(self._shards[0].schema.field(name).type)
        for shard in self._shards[1:]:
            type = decoded_type(shard.schema.field(name).type)
            try:
                schemas = [pa.schema([(name, joint)]), pa.schema([(name, type)])]
                joint = pa.unify_schemas(schemas, promote_options="permissive").field(name).type
            except (pa.ArrowTypeError, pa.ArrowInvalid):
                types = f"{type}, and {joint} in {first}"
                raise DataError(
                    f"{shard.path}, column {name!r}: must have one type in all files to be kept. Received: {types}"
                ) from None
        return joint

    def stored_batches(self, names: Sequence[str], kept: Sequence[str]) -> Iterator[pa.RecordBatch]:
        others = [name for name in kept if name not in names]
        for shard in self._shards:
            self._check_shard(shard, names)
            self._check_there(shard, others)
        for shard in self._shards:
            yield from shard.batches([*names, *others])

    def _check_shard(self, shard: ArrowShard, names: Sequence[str]) -> None:
        """Raises DataError if a file's columns aren't those of the first one."""
        first = self._shards[0].path
        self._check_there(shard, names)
        for name in names:
            kind, expected = self.kind(name, shard.schema), self.kind(name)
            if not kind.fits(expected):
                types = f"{shard.schema.field(name).type}, and {self.schema.field(name).type} in {first}"
                raise DataError(f"{shard.path}, column {name!r}: must have one type in all files. Received: {types}")

    def _check_there(self, shard: ArrowShard, names: Sequence[str]) -> None:
        """Raises DataError if a file lacks a column that the first one has."""
        for name in names:
            if name not in shard.schema.names:
                first, known = self._shards[0].path, ", ".join(shard.schema.names)
                raise DataError(f"{shard.path}: lacks a column that {first} has. Received: {known}. Missing: {name}")

    def identity(self) -> dict[str, Any]:
        return {"reader": "parquet", "files": versions([shard.path for shard in self._shards])}

    def num_rows(self) -> int:
        is_known = all(isinstance(shard, ParquetShard) for shard in self._shards)
        return sum(shard.num_rows() for shard in self._shards) if is_known else 0

    def num_bytes(self, names: Sequence[str]) -> float:
        return sum(shard.num_bytes({name: self.kind(name) for name in names}) for shard in self._shards)

    def find(self, row: int, name: str | None = None) -> tuple[str, str | None]:
        for shard in self._shards:
            if row < shard.num_rows():
                where, batch = shard.find(row)
                return where, None if batch is None or name is None else str(batch.column(name)[0].as_py())
            row -= shard.num_rows()
        return self.path, None


def _joint_schema(shards: Sequence[ArrowShard]) -> pa.Schema:
    """Returns the first file's schema; a column without any value there has the type that it has in another file."""
    schema = shards[0].schema
    for place, field in enumerate(schema):
        types = (shard.schema.field(field.name).type for shard in shards if field.name in shard.schema.names)
        if pa.types.is_null(field.type) and schema.names.count(field.name) == 1:
            schema = schema.set(place, field.with_type(next((t for t in types if not pa.types.is_null(t)), field.type)))
    return schema
