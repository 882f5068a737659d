"""Reads the arrays of an .npz file, whose names are the paths of variables: `dense/kernel`."""

from __future__ import annotations

import functools
import math
import zipfile
from pathlib import Path

import numpy as np

from tfrun.errors import CheckpointError
from tfrun.files.weights.source import BY_PATH, StoredArray, readable, refuse

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
KIND = "an .npz file"


def of_file(path: Path) -> list[StoredArray]:
    """Returns the arrays."""
    with readable(path, KIND), zipfile.ZipFile(path) as archive:
        arrays = [_stored(path, archive, member) for member in archive.infolist()]
    if not arrays:
        raise CheckpointError(f"init.from: {path} holds no arrays")
    return arrays


def _stored(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> StoredArray:
    name = member.filename.removesuffix(".npy")
    with archive.open(member) as file:
        read_header = HEADERS.get(np.lib.format.read_magic(file))
        if read_header is None:
            raise refuse(path, f"{name} isn't an array of numbers")
        shape, _, dtype = read_header(file)
        size = file.tell() + math.prod(shape) * dtype.itemsize
    if dtype.kind not in "fiub":
        raise refuse(path, f"{name} holds {dtype}, which are no numbers")
    if size != member.file_size:
        raise CheckpointError(f"init.from: {path} is damaged: {name} isn't whole")
    return StoredArray({BY_PATH: name}, tuple(shape), dtype.name, functools.partial(_read, path, member.filename))


def _read(path: Path, member: str) -> np.ndarray:
    with readable(path, KIND), zipfile.ZipFile(path) as archive, archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
