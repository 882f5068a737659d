"""Reads Keras' HDF5 files without trusting them: `.weights.h5`, its parts, the weights of a `.keras`, old `.h5` files.

HDF5 can name other files and describe arrays of any size. Only what lies in the file itself is read, and only the
arrays that are asked for, whose shape is known by then.
"""

from __future__ import annotations

import functools
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np

from tfrun.errors import CheckpointError
from tfrun.files.weights.source import BY_LAYER, BY_PATH, BY_PLACE, MAX_ARRAYS, StoredArray, readable, refuse

MAX_DEPTH = 64  # of groups in groups
MAX_RATIO = 8  # of the size of weights to that of their compressed form: numbers hardly compress
WEIGHTS_IN_KERAS = "model.weights.h5"


def of_file(path: Path) -> list[StoredArray]:
    """Returns the arrays of a `.weights.h5` or an `.h5` file."""
    kind = "a file of Keras weights"
    with readable(path, kind):
        return _arrays(path, h5py.File(path, "r"), kind=kind)


def of_parts(path: Path) -> list[StoredArray]:
    """Returns the arrays of a `.weights.json` file, which lie in several files beside it."""
    with readable(path, "an index of Keras weights"):
        index = json.loads(path.read_text())
        names = sorted({str(name) for names in index["weight_map"].values() for name in names})
    arrays = []
    for name in names:
        if Path(name).name != name:
            raise refuse(path, f"it names a file in another folder, {name!r}")
        arrays += of_file(path.with_name(name))
    return arrays


def of_keras(path: Path) -> list[StoredArray]:
    """Returns the arrays of a `.keras` file, an archive with the weights in an HDF5 file."""
    kind = "a .keras file"
    with readable(path, kind):
        archive = zipfile.ZipFile(path)
        if WEIGHTS_IN_KERAS not in archive.namelist():
            raise CheckpointError(f"init.from: {path} has no {WEIGHTS_IN_KERAS} in it")
        member = archive.getinfo(WEIGHTS_IN_KERAS)
        if member.file_size > MAX_RATIO * member.compress_size:
            raise refuse(path, f"its weights unpack to {member.file_size:,} bytes from {member.compress_size:,}")
        # not h5py.File(BytesIO(…)): one that is open when the process ends calls a Python that is gone
        return _arrays(path, h5py.File.in_memory(archive.read(member)), kind=kind)


def _arrays(path: Path, file: h5py.File, *, kind: str) -> list[StoredArray]:
    root = _item(path, file, "model_weights") if file.get("model_weights", getlink=True) else file
    is_old = _names(root, "layer_names") is not None
    arrays = list(_of_layers(path, root, kind=kind) if is_old else _of_groups(path, file, kind=kind))
    if not arrays:
        raise CheckpointError(f"init.from: {path} holds no arrays")
    return arrays


def _of_groups(path: Path, file: h5py.File, *, kind: str) -> Iterator[StoredArray]:
    """Yields the arrays of a file of Keras 3: `layers/dense/vars/0`, where each layer's group may have its name."""
    seen: set[Any] = set()
    found = 0

    def walk(group: h5py.Group, places: tuple[str, ...], layers: tuple[str, ...]) -> Iterator[StoredArray]:
        nonlocal found
        address = h5py.h5o.get_info(group.id).addr
        if address in seen or len(places) > MAX_DEPTH:
            raise refuse(path, "its groups hold each other, or too many of each other")
        seen.add(address)
        for key in group:
            item = _item(path, group, key)
            if isinstance(item, h5py.Dataset):
                found += 1
                if found > MAX_ARRAYS:
                    raise refuse(path, f"it holds more than {MAX_ARRAYS:,} arrays")
                names = {BY_PLACE: "/".join((*places, key)), BY_LAYER: "/".join((*layers, *places[-1:], key))}
                yield _stored(path, item, names, kind=kind)
            else:
                name = _text(item.attrs.get("name"))
                yield from walk(item, (*places, key), (*layers, name) if name else layers)

    yield from walk(file, (), ())


def _of_layers(path: Path, root: h5py.Group, *, kind: str) -> Iterator[StoredArray]:
    """Yields the arrays of an old file, which lists its layers and the variables of each."""
    for layer in _names(root, "layer_names") or []:
        group = _item(path, root, layer)
        for weight in _names(group, "weight_names") or []:
            item = group
            for key in weight.split("/"):
                item = _item(path, item, key)
            name = weight.partition(":")[0]
            yield _stored(path, item, {BY_PATH: name, BY_LAYER: f"{layer}/{name.rpartition('/')[2]}"}, kind=kind)


def _item(path: Path, group: h5py.Group, key: str) -> Any:
    """Returns a member of a group that lies in the same file. Raises CheckpointError for any other."""
    link = group.get(key, getlink=True)
    if link is None:
        raise CheckpointError(f"init.from: {path} is damaged: it lacks {group.name.rstrip('/')}/{key}")
    if not isinstance(link, h5py.HardLink):
        raise refuse(path, f"{group.name.rstrip('/')}/{key} is a link")
    return group[key]


def _stored(path: Path, dataset: Any, names: dict[str, str], *, kind: str) -> StoredArray:
    if not isinstance(dataset, h5py.Dataset):
        raise CheckpointError(f"init.from: {path} is damaged: {dataset.name} is no array")
    if dataset.external or dataset.is_virtual:
        raise refuse(path, f"the numbers of {dataset.name} are in another file")
    is_bfloat16 = _text(dataset.attrs.get("dtype")) == "bfloat16" and dataset.dtype.itemsize == 2
    if dataset.dtype.kind not in "fiub" and not is_bfloat16:
        raise refuse(path, f"{dataset.name} holds {dataset.dtype}, which are no numbers")
    dtype = "bfloat16" if is_bfloat16 else dataset.dtype.name
    return StoredArray(
        names, tuple(dataset.shape), dtype, functools.partial(_read, path, dataset, kind=kind, is_bfloat16=is_bfloat16)
    )


def _read(path: Path, dataset: Any, *, kind: str, is_bfloat16: bool) -> np.ndarray:
    with readable(path, kind):
        array = np.asarray(dataset[()])
        return array.view(ml_dtypes.bfloat16) if is_bfloat16 else array


def _names(group: Any, attribute: str) -> list[str] | None:
    """Returns the names that an attribute of an old file lists; long lists are cut into several attributes."""
    if attribute in group.attrs:
        return [_text(name) or "" for name in np.ravel(group.attrs[attribute])]
    parts: list[Any] = []
    while f"{attribute}{len(parts)}" in group.attrs:
        parts.append(np.ravel(group.attrs[f"{attribute}{len(parts)}"]))
    return [_text(name) or "" for part in parts for name in part] if parts else None


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else str(value) if isinstance(value, str) else None
