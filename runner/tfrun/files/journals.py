"""What a run writes as it goes: `metrics.jsonl` and TensorBoard's event files.

Both are journals: files that only grow. A checkpoint notes their lengths, and a resumed run cuts them back to those,
so that no line and no point is ever there twice. What a full disk refuses is kept and written later.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import google_crc32c

from tfrun.errors import ResourceError, private_imports
from tfrun.files import disk

# TensorBoard doesn't promise these modules, but its own writer of event files needs them, and nothing public does.
with private_imports("TensorBoard"):
    from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams import summary as hparams_sessions
    from tensorboard.plugins.hparams import summary_v2 as hparams_summary

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


class TensorBoard:
    """Event files in `train/`, `val/` and `test/`, with the same tags in each so that curves share a chart.

    Tags: `loss`, `<metric>` over steps; `epoch_loss`, `epoch_<metric>` over epochs; `grad_norm`, `lr/<group>` over
    steps. Event files are TensorBoard's own format, written without TensorFlow's writer: that one can neither tell
    nor set how long its file is.

    Args:
        folder: the run's `tensorboard/`.
        clock: gives the wall time in seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time):
        self._folder, self._clock = folder, clock
        self._files: dict[str, Journal] = {}

    def write_steps(self, step: int, values: Mapping[str, float]) -> None:
        self._write("train", step, values)

    def write_epoch(
        self, epoch: int, step: int, values: Mapping[str, Mapping[str, float]], is_best: bool = False
    ) -> None:
        for split, own in values.items():
            if split != "train":  # train has a finer curve over steps, but only of what each step gives: the loss
                self._write(split, step, own)
            else:
                self._write(split, step, {name: value for name, value in own.items() if name != "loss"})
            self._write(split, epoch, {f"epoch_{name}": value for name, value in own.items()})

    def write_text(self, tag: str, markdown: str, step: int = 0) -> None:
        """Writes a text, shown as Markdown in the Text tab."""
        metadata = summary_pb2.SummaryMetadata(
            plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="text"),
            data_class=summary_pb2.DATA_CLASS_TENSOR,
        )
        tensor = tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING, string_val=[markdown.encode()], tensor_shape=tensor_shape_pb2.TensorShapeProto()
        )
        self._event(
            "train",
            step,
            summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=metadata)]),
        )

    def write_image(self, split: str, tag: str, step: int, png: bytes) -> None:
        """Writes a picture, shown in the Images tab."""
        width, height = struct.unpack(">II", png[16:24])  # where every PNG has them
        image = summary_pb2.Summary.Image(encoded_image_string=png, width=width, height=height, colorspace=3)
        self._event(split, step, summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, image=image)]))

    def write_hparams(
        self, run_id: str, hparams: Mapping[str, Any], metrics: Mapping[str, float], status: str = "completed"
    ) -> None:
        """Writes one row of the HParams table; what didn't complete says so in its name, as the table has no column.

        The row is a sub-run of its own, so that its columns are these metrics and not every curve; its trial is the
        run, so that two runs of equal values stay two rows. No experiment summary is written: TensorBoard would take
        one run's as everyone's (`backend_context.py`).
        """
        values = {
            key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in hparams.items()
        }
        name = run_id if status == "completed" else f"{run_id} {status}"
        ended = api_pb2.STATUS_FAILURE if status in ("failed", "diverged") else api_pb2.STATUS_SUCCESS
        self._event("hparams", 0, hparams_summary.hparams_pb(values, trial_id=name))
        self._event("hparams", 0, hparams_sessions.session_end_pb(ended, self._clock()))
        self._write("hparams", 0, metrics)

    def _write(self, split: str, step: int, values: Mapping[str, float]) -> None:
        if values:
            value = [summary_pb2.Summary.Value(tag=tag, simple_value=number) for tag, number in values.items()]
            self._event(split, step, summary_pb2.Summary(value=value))

    def _event(self, split: str, step: int, summary: Any) -> None:
        if split not in self._files:
            self._files[split] = self._open(split)
        event = event_pb2.Event(wall_time=self._clock(), step=step)
        # by bytes: hparams come as TensorFlow's own message class where TensorFlow is installed
        event.summary.MergeFromString(summary.SerializeToString())
        self._files[split].write(_record(event.SerializeToString()))

    def _open(self, split: str) -> Journal:
        folder = self._folder / split
        folder.mkdir(parents=True, exist_ok=True)
        # one file for the life of the run: TensorBoard reads several in a folder only when told to
        existing = sorted(folder.glob("events.out.tfevents.*"))
        path = existing[0] if existing else folder / f"events.out.tfevents.{int(self._clock())}.tfrun"
        file = Journal(path, "events")
        if not existing:
            first = event_pb2.Event(wall_time=self._clock(), file_version="brain.Event:2")
            file.write(_record(first.SerializeToString()))
        return file

    def flush(self) -> None:
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


def _record(data: bytes) -> bytes:
    """Returns a TFRecord, as event files are made of: length and data, each followed by its masked CRC-32C.

    TensorBoard's own writer works the sums out in Python, which took a twentieth of a short run's time.
    """
    length = struct.pack("<Q", len(data))
    return length + _masked_crc(length) + data + _masked_crc(data)


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def full_names(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Returns values by split as values by full name: `val/loss`."""
    return {f"{split}/{name}": value for split, own in values.items() for name, value in own.items()}


def summary_metrics(metrics: Mapping[str, float], best: Mapping[str, float]) -> dict[str, float]:
    """Returns the columns of the HParams table: validation (or training, without it), best and last, and the test.

    Args:
        metrics: the newest ones, by full name.
        best: those of the best epoch.
    """
    split = "val/" if any(key.startswith("val/") for key in metrics) else "train/"
    columns: dict[str, float] = {}
    for key, value in metrics.items():
        if key.startswith(split):
            columns |= {f"{key}_best": best.get(key, value), f"{key}_last": value}
        elif key.startswith("test/"):
            columns[key] = value
    return columns


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
