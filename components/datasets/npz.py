"""Defines `npz`, a data set in a NumPy archive, such as an array of images with their classes."""

from __future__ import annotations

import math
import struct
import zipfile
from typing import Literal

import numpy as np

from tfrun import register
from tfrun.components.datasets.checks import MIN_ROWS, existing_file
from tfrun.data import arrays
from tfrun.data.table import Table, TrainedColumns
from tfrun.errors import DataError, near_miss

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@register.dataset("npz")
def npz(
    path: str,
    x: str = "x",
    y: str = "y",
    task: Literal["auto", "regression", "classification"] = "auto",
    rows_only: bool = False,
    trained_columns: TrainedColumns | None = None,
) -> Table:
    """Reads an .npz file (`numpy.savez`) with the examples in one array and their targets in another.

    Examples that aren't compressed stay in the file and are read when they are needed.

    Args:
        path: the file, relative to the folder that the command runs in.
        x: the array of examples, (N, …) numbers.
        y: the array of targets, (N,) or (N, 1).
        task: "auto" is classification for whole numbers, true/false and text, regression for floats.
        rows_only: whether to read rows without a target; set by the engine.
        trained_columns: the columns of the run that the rows are for; set by the engine. Then task doesn't matter.

    Raises:
        DataError: the file or an array in it can't be used.
        ResourceError: the file may not be read.
    """
    path = existing_file(path)
    try:
        archive = np.load(path, allow_pickle=False)  # a pickle could run code
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"data.path: {path} holds a single array; an .npz file with two is needed (numpy.savez).")
        with archive:
            for option, name in (("x", x), *([] if rows_only else [("y", y)])):
                if name not in archive.files:
                    hint = near_miss(name, archive.files)
                    known = ", ".join(archive.files)
                    raise DataError(
                        f"data.{option}: no such array in {path}. Received: {name!r}. Known: {known}.{hint}"
                    )
            examples = _open(archive, path, x)
            targets = np.zeros(len(examples)) if rows_only else archive[y]
    except DataError:
        raise
    except Exception as error:  # a damaged archive can raise almost anything
        raise DataError(f"data.path: {path} can't be read as an .npz file: {error}") from None
    if examples.dtype.kind not in "biuf" or examples.ndim < 2:
        raise DataError(f"data.x: numbers (N, …) are needed. Received: {examples.dtype} {examples.shape}")
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim != 1 or len(targets) != len(examples) or targets.dtype.kind not in "biufU":
        raise DataError(f"data.y: ({len(examples)},) are needed, one for each of {x!r}. Received: {targets.shape}")
    min_rows = 1 if rows_only or trained_columns is not None else MIN_ROWS
    if len(targets) < min_rows:
        raise DataError(f"data.path: {path} has {len(targets)} rows; at least {min_rows} are needed.")
    if rows_only:
        return Table({x: examples}, targets, y, "regression", path, first_line=0)
    if targets.dtype.kind == "f" and not np.isfinite(targets).all():  # the examples are checked when they are read
        raise DataError(f"data.y: nan or inf in row {int(np.argmin(np.isfinite(targets)))} of {path}.")
    if trained_columns is not None:
        task = "regression" if trained_columns.targets[0] is None else "classification"
    elif task == "auto":
        task = "regression" if targets.dtype.kind == "f" else "classification"
    if task == "regression":
        if targets.dtype.kind == "U":
            raise DataError(f"data.y: regression needs numbers. Received: {targets[0]!r}")
        return Table({x: examples}, targets.astype("float64"), y, task, path, first_line=0)
    if targets.dtype.kind == "f" and (targets == np.round(targets)).all():
        targets = targets.astype("int64")
    values, classes = np.unique(targets, return_inverse=True)
    labels = np.array([str(value) for value in values.tolist()], dtype=object)
    if len(labels) == 1 and trained_columns is None:
        raise DataError(f"data.y: a single class. Received: {labels[0]!r}")
    return Table({x: examples}, labels[classes], y, task, path, first_line=0)


def _open(archive: np.lib.npyio.NpzFile, path: str, name: str) -> np.ndarray | arrays.StoredArray:
    """Returns an array that stays in the file, or one in memory if the file's bytes aren't those of the array."""
    members = archive.zip
    if members is None or f"{name}.npy" not in members.namelist():
        return archive[name]
    member = members.getinfo(f"{name}.npy")
    with members.open(member) as file:
        read_header = HEADERS.get(np.lib.format.read_magic(file))
        if read_header is None:
            return archive[name]
        shape, is_fortran, dtype = read_header(file)
        size = math.prod(shape) * dtype.itemsize
        if len(shape) < 2 or is_fortran or dtype.kind not in "biuf" or not dtype.isnative:
            return archive[name]
        if file.tell() + size != member.file_size:
            raise DataError(f"data.path: array {name!r} of {path} isn't whole.")
        if member.compress_type == zipfile.ZIP_STORED:
            return arrays.StoredArray(path, _start(path, member) + file.tell(), shape=shape, dtype=dtype)
        loaded = arrays.aligned_empty(shape, dtype)
        for part in arrays.blocks(loaded):
            rows = loaded[part]
            rows[...] = np.frombuffer(file.read(rows.nbytes), dtype).reshape(rows.shape)
        return loaded


def _start(path: str, member: zipfile.ZipInfo) -> int:
    """Returns the offset of a member's content in the archive, behind its header, name and extra field."""
    with open(path, "rb") as file:
        file.seek(member.header_offset + 26)
        return member.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
