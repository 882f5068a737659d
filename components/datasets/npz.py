"""Defines `npz`, a data set in a NumPy archive, such as an array of images with their classes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal
from zipfile import ZipFile

import numpy as np
from annotated_types import Gt

from tfrun import register
from tfrun.components.datasets.checks import MIN_ROWS, existing_file, missing_spellings
from tfrun.components.datasets.columns import ColumnOptions, read_table
from tfrun.components.datasets.npz_archive import NpzArray, check_texts, open_archive, readable
from tfrun.components.datasets.npz_columns import NpzColumns
from tfrun.data.pieces import ROW, Keep, RowPieces, cut, row_numbers
from tfrun.data.store import Stores
from tfrun.data.table import Table, TrainedColumns
from tfrun.errors import DataError


@register.dataset("npz")
def npz(
    path: str,
    x: str | list[str] = "x",
    y: str = "y",
    task: Literal["auto", "regression", "classification"] = "auto",
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
    """Reads an .npz file (`numpy.savez`) with the examples in one array, or in one for each column, and their targets.

    Examples that aren't compressed stay in the file and are read when they are needed.

    Args:
        path: the file, relative to the folder that the command runs in.
        x: the array of examples, (N, …) numbers; or a list of arrays, each a column: (N,) numbers, true/false or texts,
            or (N, …) numbers.
        y: the array of targets, (N,) or (N, 1).
        task: "auto" is classification for whole numbers, true/false and text, regression for floats.
        exclude: columns of a list `x` to leave out.
        text_columns: columns of numbers that are names of something, for example postal codes.
        max_categories: the largest number of different values of a text column that data.text doesn't name.
        missing: more texts that count as missing in `y`, beside those of data=csv, and in columns; null: only the empty
            one does.
        text_encodings: the encodings of the columns that the config makes texts; set by the engine.
        column_kinds: the kinds of the columns that the config names; set by the engine.
        rows_only: whether to read rows without a target; set by the engine.
        trained_columns: the columns of the run that the rows are for; set by the engine. Then exclude, text_columns,
            max_categories and task don't matter.
        stores: where columns are kept that are too large for the memory; set by the engine.
        in_pieces: the arrays to keep, (N,) each, if the rows are wanted a piece at a time; set by the engine.

    Raises:
        DataError: the file or an array in it can't be used.
        ResourceError: the file may not be read, or an array is larger than the memory.
    """
    file = existing_file(path)
    if not isinstance(x, str):
        options = ColumnOptions(
            target=y,
            task=task,
            columns=x,
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
        table = read_table(*NpzColumns.open(file, options))
    else:
        table = _single(file, x, y, task=task, missing=missing, rows_only=rows_only, trained=trained_columns)
    return table if in_pieces is None else cut(table, _kept_cells(table, file, keep=in_pieces))


def _kept_cells(table: Table, path: str, *, keep: Keep) -> dict[str, Callable[[slice], Any]]:
    """Returns what to keep of some rows: arrays of the archive, (N,), or the rows' numbers if there are none."""
    if keep.names == ():
        return {}
    with readable(path), open_archive(path) as archive:
        flat = dict(_flat_arrays(archive, path, num_rows=len(table.target)))
    kept = keep.of(list(flat) or [ROW], path)
    with readable(path), open_archive(path) as archive:
        opened = {name: flat[name].open_flat(archive) for name in kept if name in flat}
    return {name: opened[name].__getitem__ if name in opened else row_numbers for name in kept}


def _flat_arrays(archive: ZipFile, path: str, *, num_rows: int) -> Iterator[tuple[str, NpzArray]]:
    """Yields the arrays of numbers and texts that have one for each row, by name."""
    for name in [entry.removesuffix(".npy") for entry in archive.namelist()]:
        with contextlib.suppress(DataError):  # an array that nobody asks for
            array = NpzArray.find(archive, path, name=name, option="x")
            if array.shape in ((num_rows,), (num_rows, 1)) and array.dtype.kind in "biufUM":
                yield name, array


def _single(
    path: str,
    x: str,
    y: str,
    *,
    task: str,
    missing: list[str] | None,
    rows_only: bool,
    trained: TrainedColumns | None,
) -> Table:
    """Returns the examples of a single array; the arguments are those of `npz`."""
    with readable(path), open_archive(path) as archive:
        stored_x = NpzArray.find(archive, path, name=x, option="x")
        num_rows = _check_examples(stored_x)
        stored_y = None if rows_only else NpzArray.find(archive, path, name=y, option="y")
        if stored_y is not None:
            _check_targets(stored_y, num_rows, of=x)
        examples = stored_x.open(archive)
        targets = np.zeros(num_rows) if stored_y is None else stored_y.read(archive).reshape(num_rows)
    min_rows = 1 if rows_only or trained is not None else MIN_ROWS
    if num_rows < min_rows:
        raise DataError(f"data.path: {path} has {num_rows} rows; at least {min_rows} are needed.")
    if rows_only:
        return Table({x: examples}, targets, y, "regression", path, first_line=0)
    if trained is not None:
        task = "regression" if trained.targets[0] is None else "classification"
    elif task == "auto":
        task = "regression" if targets.dtype.kind == "f" else "classification"
    if task == "classification":
        labels = _labels(targets, missing_spellings(missing), may_be_single=trained is not None)
        return Table({x: examples}, labels, y, task, path, first_line=0)
    if targets.dtype.kind == "U":
        raise DataError(f"data.y: regression needs numbers. Received: {targets[0]!r}")
    return Table({x: examples}, targets.astype("float64"), y, task, path, first_line=0)


def _labels(targets: np.ndarray, missing: Sequence[str], *, may_be_single: bool) -> np.ndarray:
    """Returns targets as the labels of classes, (N,) object of str; whole numbers are written as such.

    Raises:
        DataError: there is a single class, and that may not be.
    """
    values, classes = np.unique(targets, return_inverse=True)
    filled = [value for value in values.tolist() if value == value]  # nan differs from itself
    if targets.dtype.kind == "f" and all(value.is_integer() for value in filled):
        texts = [str(int(value)) if value == value else "" for value in values.tolist()]
    else:
        texts = [str(value).strip() if value == value else "" for value in values.tolist()]
    texts = ["" if text in missing else text for text in texts]
    if len(set(texts) - {""}) < 2 and not may_be_single:
        raise DataError(f"data.y: a single class. Received: {texts[0]!r}")
    return np.array(texts, dtype=object)[classes]


def _check_examples(stored: NpzArray) -> int:
    """Returns the number of examples. Raises DataError if the array holds none."""
    shape = stored.shape
    if stored.dtype.kind not in "biuf" or len(shape) < 2:
        raise DataError(f"data.x: numbers (N, …) are needed. Received: {stored.dtype} {shape}")
    if math.prod(shape[1:]) == 0:
        raise DataError(f"data.x: there are no values. Received: {stored.dtype} {shape}")
    return shape[0]


def _check_targets(stored: NpzArray, num_rows: int, *, of: str) -> None:
    """Raises DataError if an array can't be the targets of the rows, before it is read: it could unpack to anything."""
    if stored.shape not in ((num_rows,), (num_rows, 1)) or stored.dtype.kind not in "biufU":
        raise DataError(
            f"data.y: ({num_rows},) are needed, one for each of {of!r}. Received: {stored.dtype} {stored.shape}"
        )
    check_texts(stored)
