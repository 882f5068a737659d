"""Journals, the files of a run that only grow: `metrics.jsonl` and TensorBoard's event files.

A checkpoint notes their lengths, and a resumed run cuts them back to those, so that no line and no point is ever there
twice. Data that a full disk refuses is kept and written later. `engine.recording.tensorboard` writes the event files.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from tfrun.errors import ResourceError
from tfrun.files import disk

PIECE_BYTES = 2**14  # written at once


class Writer(Protocol):
    """Takes values by split (`train`, `val`, `test`), each value with a name."""

    def write_steps(self, step: int, values: Mapping[str, float]) -> None:
        """Takes values of one training step."""

    def write_epoch(
        self, epoch: int, step: int, values: Mapping[str, Mapping[str, float]], is_best: bool = False
    ) -> None:
        """Takes the metrics of an epoch, or of the final test, by split; `is_best` for the best epoch so far."""

    def flush(self) -> None:
        """Puts everything that was written onto the disk."""

    def close(self) -> None:
        """Writes what is left."""


class Journal:
    """A file that only grows, written a piece at a time. What is refused waits in memory until it is taken.

    Args:
        path: is made where it isn't there.
        name: of its operations, for `tfrun.files.disk`.
    """

    def __init__(self, path: Path, name: str):
        self._name = name
        self._waiting = bytearray()
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
        self._length = os.fstat(self._file.fileno()).st_size

    def write(self, data: bytes) -> int:
        """Takes what comes next."""
        self._waiting += data
        if len(self._waiting) >= PIECE_BYTES:
            with contextlib.suppress(OSError):  # flush() tells
                self._push()
        return len(data)

    def flush(self) -> None:
        """Puts everything onto the disk. Raises OSError where it refuses; then nothing of the rest is written."""
        try:
            self._push()
            disk.sync(self._file, self._name)
        except OSError as error:
            error.filename = self._file.name
            raise

    def close(self) -> None:
        """Writes what is left, if the disk takes it."""
        with contextlib.suppress(OSError):
            self._push()
        self._file.close()

    def _push(self) -> None:
        if not self._waiting:
            return
        try:
            disk.write(self._file, bytes(self._waiting), self._name)
            written = os.fstat(self._file.fileno()).st_size - self._length
            if written != len(self._waiting):  # a full disk takes a part
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(self._file.fileno(), self._length)  # no half line, no half record
            raise
        self._length += len(self._waiting)
        self._waiting.clear()


class MultiWriter:
    """Hands everything to several writers. Raises ResourceError where the disk refuses."""

    def __init__(self, writers: Iterable[Writer]):
        self._writers = list(writers)

    def write_steps(self, step: int, values: Mapping[str, float]) -> None:
        self._each("write_steps", step, values)

    def write_epoch(
        self, epoch: int, step: int, values: Mapping[str, Mapping[str, float]], is_best: bool = False
    ) -> None:
        self._each("write_epoch", epoch, step, values, is_best)

    def flush(self) -> None:
        self._each("flush")

    def close(self) -> None:
        self._each("close")

    def _each(self, method: str, *arguments: Any) -> None:
        for writer in self._writers:
            try:
                getattr(writer, method)(*arguments)
            except OSError as error:
                what = error.filename or type(writer).__name__
                raise ResourceError(f"{what}: can't be written: {error.strerror or error}") from error


class JsonLines:
    """`metrics.jsonl`: a line for each epoch and for the final test, with the full names: `val/loss`.

    The lines hold no times: those of a resumed run equal those of an undisturbed one, byte for byte.
    """

    def __init__(self, path: Path):
        self._file = Journal(path, path.name)

    def write_steps(self, step: int, values: Mapping[str, float]) -> None:
        """Leaves single steps to TensorBoard."""

    def write_epoch(
        self, epoch: int, step: int, values: Mapping[str, Mapping[str, float]], is_best: bool = False
    ) -> None:
        line = {"epoch": epoch, "step": step, **full_names(values)}
        self._file.write(json.dumps(line).encode() + b"\n")

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class Results:
    """Keeps what `run.json` tells: the newest metrics, and those of the best epoch.

    Args:
        path: `metrics.jsonl`, where a run that goes on finds its earlier epochs.
        best_step: the best epoch's last step so far, 0 for none.
        monitor: the name of the value that makes an epoch the best.
    """

    def __init__(self, path: Path, best_step: int, monitor: str):
        self.metrics: dict[str, float] = {}
        self.best: dict[str, Any] = {}
        self._monitor = monitor
        for line in path.read_text().splitlines() if path.exists() else []:
            entry = json.loads(line)
            values = {key: value for key, value in entry.items() if "/" in key}
            self._take(entry["epoch"], entry["step"], values, is_best=entry["step"] == best_step)

    def write_steps(self, step: int, values: Mapping[str, float]) -> None:
        """Keeps nothing of single steps."""

    def write_epoch(
        self, epoch: int, step: int, values: Mapping[str, Mapping[str, float]], is_best: bool = False
    ) -> None:
        self._take(epoch, step, full_names(values), is_best)

    def _take(self, epoch: int, step: int, values: Mapping[str, float], is_best: bool) -> None:
        self.metrics |= values
        if is_best:
            self.best = {"epoch": epoch, "step": step, "monitor": self._monitor, **values}

    def flush(self) -> None:
        """Has nothing on its way to the disk."""

    def close(self) -> None:
        """Has nothing left."""


def full_names(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Returns values by split as values by full name: `val/loss`."""
    return {f"{split}/{name}": value for split, own in values.items() for name, value in own.items()}


def journal_lengths(root: Path) -> dict[str, int]:
    """Returns how long a run's journals are, in bytes."""
    return {str(path.relative_to(root)): path.stat().st_size for path in _journals(root)}


def cut_back(root: Path, lengths: Mapping[str, int]) -> list[str]:
    """Cuts the journals of a run back to the given lengths; one that isn't named did not exist then.

    Returns:
        Those that are shorter, or gone: something else than tfrun has changed them.
    """
    for path in _journals(root):
        length = lengths.get(str(path.relative_to(root)), 0)
        if length == 0:
            path.unlink()
        elif path.stat().st_size > length:
            with open(path, "r+b") as file:
                file.truncate(length)
    sizes = journal_lengths(root)
    return [name for name, length in lengths.items() if sizes.get(name, 0) < length]


def _journals(root: Path) -> list[Path]:
    return sorted([*root.glob("metrics.jsonl"), *(root / "tensorboard").glob("*/events.out.tfevents.*")])
