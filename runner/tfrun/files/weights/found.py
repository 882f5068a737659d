"""What a path of `init.from` is: looked at before TensorFlow is imported, read afterwards."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from tfrun.files.digests import file_sha256
from tfrun.files.runs import RunFolder
from tfrun.files.weights import of_run
from tfrun.files.weights.source import StoredArray, WeightSource, no_source
from tfrun.folders import shown

RUN, SAVED_MODEL = "run", "saved_model"
SUFFIXES = {  # the longest that fits counts; the reader of each is in `_read_file`
    ".keras": "keras",
    ".weights.json": "weights.json",
    ".h5": "h5",
    ".hdf5": "h5",
    ".npz": "npz",
}


def kind_of(text: str) -> tuple[Path, str]:
    """Returns a source's path and kind. Raises ConfigError if there is no such file or folder, or it is none."""
    path = Path(text).expanduser().absolute()
    if path.is_dir():
        if (path / "config.yaml").is_file():
            return path, RUN
        if (path / "saved_model.pb").is_file():
            return path, SAVED_MODEL
        raise no_source(text, "the folder is neither a run's nor a SavedModel's")
    if not path.is_file():
        raise no_source(text, "no such file or folder", hint=_near_miss(path))
    for suffix, kind in SUFFIXES.items():
        if path.name.endswith(suffix):
            return path, kind
    raise no_source(text, "not a file of weights")


def _near_miss(path: Path) -> str:
    """Returns a sentence with the path that a mistyped one may mean, up to the first part that isn't there."""
    while not path.parent.is_dir():
        path = path.parent
    close = difflib.get_close_matches(path.name, sorted(item.name for item in path.parent.iterdir()), n=1)
    return f" Did you mean '{shown(path.with_name(close[0]))}'?" if close else ""


def open_source(text: str, *, take: str, read_saved_model: Callable[[Path], list[StoredArray]]) -> WeightSource:
    """Returns the arrays of a source.

    Args:
        text: `init.from`.
        take: of a run, `best` or `last`.
        read_saved_model: reads a SavedModel's folder, for which TensorFlow is needed.

    Raises:
        ConfigError: there is no such source.
        CheckpointError: it is damaged, or holds what weights have no use for.
    """
    path, kind = kind_of(text)
    if kind == RUN:
        return of_run.read(RunFolder(path), take=take)
    if kind == SAVED_MODEL:
        (data,) = sorted((path / "variables").glob("*.data-*"))[:1] or [path / "saved_model.pb"]
        return WeightSource(path, kind, read_saved_model(path), {"sha256": file_sha256(data)})
    return WeightSource(path, kind, _read_file(path, kind), {"sha256": file_sha256(path)})


def version_of(text: str) -> list[object]:
    """Returns what changes when a source is written or replaced."""
    path = Path(text).expanduser()
    files = [path] if path.is_file() else sorted((path / "checkpoints").glob("step-*/manifest.json"))
    return [[str(file), file.stat().st_mtime_ns, file.stat().st_size] for file in files]


def _read_file(path: Path, kind: str) -> list[StoredArray]:
    if kind == "npz":
        from tfrun.files.weights import npz

        return npz.of_file(path)
    from tfrun.files.weights import hdf5  # h5py is only imported if it is needed

    readers = {"keras": hdf5.of_keras, "weights.json": hdf5.of_parts, "h5": hdf5.of_file}
    return readers[kind](path)
