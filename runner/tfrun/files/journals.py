"""Journals, the files of a run that only grow: `metrics.jsonl` and TensorBoard's event files.

A checkpoint notes their lengths, and a resumed run cuts them back to those, so that no line and no point is ever there
twice. Data that a full disk refuses is kept and written later. `engine.recording.tensorboard` writes the event files.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

from tfrun.errors import CheckpointError, ResourceError
from tfrun.files import disk, strict_json
from tfrun.files.json_files import read_metrics

EVENT_FOLDERS = ("train", "val", "test", "hparams")
PIECE_BYTES = 2**14  # data is collected up to this size, then written at once


class Writer(Protocol):
    """Receives values by split (`train`, `val`, `test`), each value with a name."""

    def write_steps(self, step: int, values: Mapping[str, float]) -> None:
        """Writes values of one training step."""

    def write_epoch(
        self, epoch: int, step: int, *, values: Mapping[str, Mapping[str, float]], is_best: bool = False
    ) -> None:
        """Writes the metrics of an epoch, or of the final test, by split; `is_best` marks the best epoch so far."""

    def flush(self) -> None:
        """Returns once everything that was written is on the disk."""

    def close(self) -> None:
        """Writes what is left and closes the files."""


class Journal:
    """A file that only grows, written a piece at a time. Data that the disk refuses stays in memory for a later try.

    Args:
        file: open for appending, unbuffered.
        name: the name of its operations, for `files.disk`.
    """

    def __init__(self, file: FileIO, name: str):
        self._file = file
        self._name = name
        self._waiting = bytearray()
        self._length = os.fstat(file.fileno()).st_size

    @classmethod
    def open(cls, path: Path, name: str) -> Journal:
        """Opens a journal to append to it; the file is created if it isn't there.

        Raises:
            ResourceError: the disk refuses, or the file is a link.
        """
        with disk.refusals(path):
            return cls(disk.open_file(path, "ab", buffering=0), name)

    def write(self, data: bytes) -> int:
        """Appends data, in memory until there is enough for a piece."""
        self._waiting += data
        if len(self._waiting) >= PIECE_BYTES:
            with contextlib.suppress(OSError):  # flush() reports it
                self._push()
        return len(data)

    def flush(self) -> None:
        """Returns once everything is on the disk. Raises OSError if the disk refuses; then the rest isn't written."""
        try:
            self._push()
            disk.sync(self._file, self._name)
        except OSError as error:
            error.filename = self._file.name
            raise

    def close(self) -> None:
        """Writes what is left, if the disk accepts it."""
        with contextlib.suppress(OSError):
            self._push()
        self._file.close()

    def _push(self) -> None:
        if not self._waiting:
            return
        try:
            disk.write(self._file, bytes(self._waiting), name=self._name)
            written = os.fstat(self._file.fileno()).st_size - self._length
            if written != len(self._waiting):  # a full disk accepts a part
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(self._file.fileno(), self._length)  # no half line, no half record
            raise
        self._length += len(self._waiting)
        self._waiting.clear()


class MultiWriter:
    """Passes everything on to several writers. Raises ResourceError if the disk refuses."""

    def __init__(self, writers: Iterable[Writer]):
        self._writers = list(writers)

    def write_steps(self, step: int, values: Mapping[str, float]) -> None:
        for writer in self._writers:
            with _disk_errors(writer):
                writer.write_steps(step, values)

    def write_epoch(
        self, epoch: int, step: int, *, values: Mapping[str, Mapping[str, float]], is_best: bool = False
    ) -> None:
        for writer in self._writers:
            with _disk_errors(writer):
                writer.write_epoch(epoch, step, values=values, is_best=is_best)

    def flush(self) -> None:
        for writer in self._writers:
            with _disk_errors(writer):
                writer.flush()

    def close(self) -> None:
        for writer in self._writers:
            with _disk_errors(writer):
                writer.close()


@contextlib.contextmanager
def _disk_errors(writer: Writer) -> Iterator[None]:
    """Turns OSError into a ResourceError that names the file."""
    try:
        yield
    except OSError as error:
        name = error.filename or type(writer).__name__
        raise ResourceError(f"{name}: can't be written: {error.strerror or error}") from error


class JsonLines:
    """`metrics.jsonl`: a line for each epoch and one for the final test, with full names such as `val/loss`.

    A value that isn't defined, or isn't a finite number, is null.

    The lines hold no times: those of a resumed run equal those of an uninterrupted one, byte for byte.

    Args:
        journal: the file.
    """

    def __init__(self, journal: Journal):
        self._journal = journal

    @classmethod
    def open(cls, path: Path) -> JsonLines:
        """Opens the file to append to it."""
        return cls(Journal.open(path, path.name))

    def write_steps(self, step: int, values: Mapping[str, float]) -> None:
        """Does nothing: single steps are for TensorBoard."""

    def write_epoch(
        self, epoch: int, step: int, *, values: Mapping[str, Mapping[str, float]], is_best: bool = False
    ) -> None:
        line = {"epoch": epoch, "step": step, **full_names(values)}
        self._journal.write(strict_json.dumps(line).encode() + b"\n")

    def flush(self) -> None:
        self._journal.flush()

    def close(self) -> None:
        self._journal.close()


class Results:
    """Keeps the newest metrics and those of the best epoch, for `run.json`.

    Args:
        monitor: the name of the value that decides which epoch is best.

    Attributes:
        metrics: the newest value of each metric, by full name; None if it isn't defined.
        best: the best epoch's values, with the epoch and step; empty before there is one.
    """

    def __init__(self, monitor: str):
        self.metrics: dict[str, float | None] = {}
        self.best: dict[str, Any] = {}
        self._monitor = monitor

    @classmethod
    def read(cls, path: Path, *, best_step: int, monitor: str, length: int | None = None) -> Results:
        """Returns the results of a run's epochs so far.

        Args:
            path: `metrics.jsonl`; a new run has none yet.
            best_step: the last step of the best epoch so far, 0 for none.
            monitor: the name of the value that decides which epoch is best.
            length: the number of bytes that count; None for all.

        Raises:
            CheckpointError: a line is damaged.
        """
        results = cls(monitor)
        for entry in read_metrics(path, length) if path.exists() else []:
            values = {key: value for key, value in entry.items() if "/" in key}
            results._add(entry["epoch"], entry["step"], values=values, is_best=entry["step"] == best_step)
        return results

    def write_steps(self, step: int, values: Mapping[str, float]) -> None:
        """Does nothing: `run.json` has epochs only."""

    def write_epoch(
        self, epoch: int, step: int, *, values: Mapping[str, Mapping[str, float]], is_best: bool = False
    ) -> None:
        self._add(epoch, step, values=full_names(values), is_best=is_best)

    def _add(self, epoch: int, step: int, *, values: Mapping[str, float | None], is_best: bool) -> None:
        values = {name: strict_json.defined(value) for name, value in values.items()}
        self.metrics |= values
        if is_best:
            self.best = {"epoch": epoch, "step": step, "monitor": self._monitor, **values}

    def flush(self) -> None:
        """Does nothing: the results are in memory only."""

    def close(self) -> None:
        """Does nothing."""


def full_names(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Returns values by split as values by full name: `val/loss`."""
    return {f"{split}/{name}": value for split, by_name in values.items() for name, value in by_name.items()}


def journal_lengths(root: Path) -> dict[str, int]:
    """Returns the lengths of a run's journals in bytes, by their path in the run's folder."""
    return {str(path.relative_to(root)): path.stat().st_size for path in _journals(root)}


def cut_back(root: Path, lengths: Mapping[str, int]) -> list[str]:
    """Truncates the journals of a run to the given lengths; one that isn't named is removed.

    Returns:
        What something else than tfrun has changed, a line each: a journal that is shorter than that, or missing, and
        a damaged line among those that are cut off.

    Raises:
        ResourceError: the disk refuses, or a journal is a link.
    """
    damaged = _damaged_line(root / "metrics.jsonl")
    for path in _journals(root):
        length = lengths.get(str(path.relative_to(root)), 0)
        with disk.refusals(path):
            if length == 0:
                path.unlink()
            elif path.stat().st_size > length:
                with disk.open_file(path, "r+b") as file:
                    file.truncate(length)
            elif path.stat().st_size < length and path.suffix == ".jsonl":
                with disk.open_file(path, "r+b") as file:
                    file.truncate(file.read().rfind(b"\n") + 1)  # the next line must not continue half a line
    sizes = journal_lengths(root)
    shorter = [name for name, length in lengths.items() if sizes.get(name, 0) < length]
    lost = [f"{name} has lost lines since the checkpoint, which can't be restored" for name in shorter]
    return lost + [f"{line}. It is newer than the checkpoint: its steps are trained again" for line in damaged]


def _damaged_line(path: Path) -> list[str]:
    """Returns what is wrong with a `metrics.jsonl`, if anything."""
    try:
        read_metrics(path)
    except FileNotFoundError:
        return []
    except CheckpointError as error:
        return [str(error)]
    return []


def _journals(root: Path) -> list[Path]:
    events = [path for depth in ("*", "*/*") for path in (root / "tensorboard").glob(f"{depth}/events.out.tfevents.*")]
    return sorted([*root.glob("metrics.jsonl"), *events])


def folder_of_events(tensorboard: Path, words: str) -> Path:
    """Returns the folder in which a run's `train/`, `val/`, `test/` and `hparams/` are.

    Args:
        tensorboard: the run's folder for TensorBoard. Runs of earlier versions have their event files right there.
        words: the name of the folder in it for a run that has no event files yet; empty for that folder itself.
    """
    for pattern in ("", "*/"):
        for name in EVENT_FOLDERS:
            for path in sorted(tensorboard.glob(f"{pattern}{name}")):
                if path.is_dir() and not path.is_symlink():
                    return path.parent
    return tensorboard / words if words else tensorboard


def under_words(name: str, words: str) -> str:
    """Returns the path of a copied journal in its run folder: event files are in the folder of the copy's words."""
    if not name.startswith("tensorboard/"):
        return name
    return "/".join(filter(None, ["tensorboard", words, *name.split("/")[-2:]]))
