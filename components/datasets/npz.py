"""NumPy archives: arrays of examples, images for example."""

from __future__ import annotations

import zipfile
from typing import Literal

import numpy as np

from tfrun import register
from tfrun.components.datasets.csv import MIN_ROWS, existing_file
from tfrun.errors import DataError, near_miss
from tfrun.table import Table


@register.dataset("npz")
def npz(
    path: str,
    x: str = "x",
    y: str = "y",
    task: Literal["auto", "regression", "classification"] = "auto",
) -> Table:
    """An .npz file (`numpy.savez`) with the examples in one array and their targets in another.

    Args:
        path: the file, from the folder the command runs in.
        x: the array of examples, (N, …) numbers.
        y: the array of targets, (N,) or (N, 1).
        task: "auto" is classification for whole numbers, true/false and text, regression for floats.

    Raises:
        DataError: the file or an array in it can't be used.
    """
    path = existing_file(path)
    try:
        archive = np.load(path, allow_pickle=False)  # a pickle could run code
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"data.path: {path} holds a single array; an .npz of two is needed (numpy.savez).")
        with archive:
            for option, name in (("x", x), ("y", y)):
                if name not in archive.files:
                    hint = near_miss(name, archive.files)
                    known = ", ".join(archive.files)
                    raise DataError(
                        f"data.{option}: no such array in {path}. Received: {name!r}. Known: {known}.{hint}"
                    )
            examples, targets = archive[x], archive[y]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"data.path: {path} can't be read as an .npz file: {error}") from None
    if examples.dtype.kind not in "biuf" or examples.ndim < 2:
        raise DataError(f"data.x: numbers (N, …) are needed. Received: {examples.dtype} {examples.shape}")
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    if targets.ndim != 1 or len(targets) != len(examples) or targets.dtype.kind not in "biufU":
        raise DataError(f"data.y: ({len(examples)},) are needed, one for each of {x!r}. Received: {targets.shape}")
    if len(targets) < MIN_ROWS:
        raise DataError(f"data.path: {path} has {len(targets)} rows; at least {MIN_ROWS} are needed.")
    for option, array in (("x", examples), ("y", targets)):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            row = int(np.argmin(np.isfinite(array).reshape(len(array), -1).all(axis=1)))
            raise DataError(f"data.{option}: nan or inf in row {row} of {path}.")
    if task == "auto":
        task = "regression" if targets.dtype.kind == "f" else "classification"
    if task == "regression":
        if targets.dtype.kind == "U":
            raise DataError(f"data.y: regression needs numbers. Received: {targets[0]!r}")
        return Table({x: examples}, targets.astype("float64"), y, task, path, first_line=0)
    if targets.dtype.kind == "f" and (targets == np.round(targets)).all():
        targets = targets.astype("int64")
    labels = np.array([str(target) for target in targets.tolist()], dtype=object)
    if len(set(labels)) == 1:
        raise DataError(f"data.y: a single class. Received: {labels[0]!r}")
    return Table({x: examples}, labels, y, task, path, first_line=0)
