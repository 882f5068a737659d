"""Reads the arrays of a source of weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tfrun.files.digests import file_sha256
from tfrun.files.runs import RunFolder
from tfrun.files.weights import of_run
from tfrun.files.weights.found import RUN, SAVED_MODEL, kind_of
from tfrun.files.weights.source import StoredArray, WeightSource


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
        return WeightSource(path, kind, read_saved_model(path), {"sha256": sha256_of(path, kind)})
    return WeightSource(path, kind, _read_file(path, kind), {"sha256": sha256_of(path, kind)})


def sha256_of(path: Path, kind: str) -> str:
    """Returns the SHA-256 of a source's file, or of the file with the weights of a SavedModel."""
    if kind == SAVED_MODEL:
        (path,) = sorted((path / "variables").glob("*.data-*"))[:1] or [path / "saved_model.pb"]
    return file_sha256(path)


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
