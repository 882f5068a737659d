"""Writes TensorBoard's event files without TensorFlow's writer, which can neither tell nor set a file's length."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from tfrun.errors import private_imports
from tfrun.files.disk import refuse_links_inside
from tfrun.files.journals import Journal, folder_of_events
from tfrun.files.strict_json import defined

# TensorBoard doesn't promise these modules, but its own writer of event files needs them, and nothing public does.
with private_imports("TensorBoard"):
    from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
    from tensorboard.plugins.histogram import metadata as histogram_metadata
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams import summary as hparams_sessions
    from tensorboard.plugins.hparams import summary_v2 as hparams_summary
    from tensorboard.plugins.pr_curve import metadata as pr_curve_metadata


class TensorBoard:
    """Event files in `train/`, `val/` and `test/`, with the same tags in each so that curves share a chart.

    Tags: `epoch/loss`, `epoch/<metric>` over epochs; `step/loss`, `step/<metric>`, `step/grad_norm`, `lr/<group>` over
    steps. TensorBoard groups charts by what is before the slash. Event files are TensorBoard's own format, written
    without TensorFlow's writer: that one can neither tell nor set how long its file is.

    Args:
        folder: the run's `tensorboard/`.
        words: what the run trains, the name of the folder in it in which `train/` and the others are, so that
            TensorBoard's list of runs has it; empty for none. A run that has event files keeps their folder.
        clock: gives the wall time in seconds.
    """

    def __init__(self, folder: Path, *, words: str = "", clock: Callable[[], float] = time.time):
        self._run = folder.parent
        self._folder = folder_of_events(folder, words)
        self._clock = clock
        self._files: dict[str, Journal] = {}

    def write_steps(self, step: int, values: Mapping[str, float]) -> None:
        by_tag = {name if "/" in name else f"step/{name}": value for name, value in values.items()}
        self._write("train", step, values=by_tag)

    def write_epoch(
        self, epoch: int, step: int, *, values: Mapping[str, Mapping[str, float]], is_best: bool = False
    ) -> None:
        for split, by_name in values.items():
            # train has a finer curve over steps, but only of what each step gives: the loss
            left_out = ("loss",) if split == "train" else ()
            over_steps = {f"step/{name}": value for name, value in by_name.items() if name not in left_out}
            self._write(split, step, values=over_steps)
            self._write(split, epoch, values={f"epoch/{name}": value for name, value in by_name.items()})

    def write_text(self, tag: str, markdown: str, *, step: int = 0) -> None:
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
            summary=summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=metadata)]),
        )

    def write_graph(self, graph: bytes) -> None:
        """Writes a graph, shown in the Graphs tab.

        Args:
            graph: a serialized GraphDef.
        """
        self._write_event("train", 0, event=event_pb2.Event(graph_def=graph))

    def write_image(self, split: str, tag: str, *, step: int, png: bytes) -> None:
        """Writes a picture, shown in the Images tab."""
        width, height = struct.unpack(">II", png[16:24])  # where every PNG has them
        image = summary_pb2.Summary.Image(encoded_image_string=png, width=width, height=height, colorspace=3)
        self._event(split, step, summary=summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, image=image)]))

    def write_pr_curve(self, split: str, tag: str, *, step: int, counts: np.ndarray, about: str = "") -> None:
        """Writes a curve of precision and recall, shown in the PR Curves tab.

        Args:
            split: the rows.
            tag: what is before its slash is the group of curves.
            step: the step of the weights.
            counts: (4, T) true positives, false positives, true negatives and false negatives at T thresholds that are
                evenly spaced from 0 to 1.
            about: Markdown.
        """
        hits, alarms, _, misses = counts
        # where no row is positive, TensorBoard's own writer has a precision of 0 too
        shares = hits / np.maximum(hits + alarms, 1), hits / np.maximum(hits + misses, 1)
        metadata = pr_curve_metadata.create_summary_metadata(tag, about, counts.shape[1])
        self._write_tensor(split, tag, np.stack([*counts, *shares]), step=step, metadata=metadata)

    def write_histograms(self, step: int, histograms: Mapping[str, np.ndarray]) -> None:
        """Writes histograms, shown in the tabs Histograms and Distributions.

        Args:
            step: the step of the values.
            histograms: by tag, (B, 3): the left edge, the right edge and the count of each bucket.
        """
        for tag, buckets in histograms.items():
            metadata = histogram_metadata.create_summary_metadata(tag, "")
            self._write_tensor("train", tag, buckets, step=step, metadata=metadata)

    def _write_tensor(self, split: str, tag: str, values: np.ndarray, *, step: int, metadata: Any) -> None:
        """Writes numbers of any shape, for the plugin that the metadata name."""
        metadata.data_class = summary_pb2.DATA_CLASS_TENSOR
        shape = tensor_shape_pb2.TensorShapeProto(
            dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in values.shape]
        )
        content = np.ascontiguousarray(values, "<f8").tobytes()
        tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_DOUBLE, tensor_shape=shape, tensor_content=content)
        # by bytes: metadata come as TensorFlow's own message class where TensorFlow is installed
        value = summary_pb2.Summary.Value(tag=tag, tensor=tensor)
        value.metadata.MergeFromString(metadata.SerializeToString())
        self._event(split, step, summary=summary_pb2.Summary(value=[value]))

    def write_hparams(
        self,
        trial: str,
        hparams: Mapping[str, bool | float | str],
        *,
        metrics: Mapping[str, float | None],
        status: str = "completed",
    ) -> None:
        """Writes one row of the HParams table; what didn't complete says so in its name, as the table has no column.

        The row is a sub-run of its own, so that its columns are these metrics and not every curve; its trial is the
        run, so that two runs of equal values stay two rows. No experiment summary is written: TensorBoard would take
        one run's as everyone's (`backend_context.py`).

        Args:
            trial: the name of the row, which no other run has.
            hparams: the values by column; `config.hparam_columns` gives each column one type.
            metrics: the metrics by column.
            status: how the run ended.
        """
        name = trial if status == "completed" else f"{trial} {status}"
        ended = api_pb2.STATUS_FAILURE if status in ("failed", "diverged") else api_pb2.STATUS_SUCCESS
        self._event("hparams", 0, summary=hparams_summary.hparams_pb(dict(hparams), trial_id=name))
        self._event("hparams", 0, summary=hparams_sessions.session_end_pb(ended, self._clock()))
        self._write("hparams", 0, values=metrics)

    def _write(self, split: str, step: int, *, values: Mapping[str, float | None]) -> None:
        """Writes the values that are defined."""
        points = {tag: number for tag, number in values.items() if defined(number) is not None}
        if points:
            value = [summary_pb2.Summary.Value(tag=tag, simple_value=number) for tag, number in points.items()]
            self._event(split, step, summary=summary_pb2.Summary(value=value))

    def _event(self, split: str, step: int, *, summary: Any) -> None:
        event = event_pb2.Event()
        # by bytes: hparams come as TensorFlow's own message class where TensorFlow is installed
        event.summary.MergeFromString(summary.SerializeToString())
        self._write_event(split, step, event=event)

    def _write_event(self, split: str, step: int, *, event: Any) -> None:
        if split not in self._files:
            self._files[split] = self._open(split)
        event.wall_time, event.step = self._clock(), step
        self._files[split].write(_record(event.SerializeToString()))

    def _open(self, split: str) -> Journal:
        folder = self._folder / split
        refuse_links_inside(self._run, folder)
        folder.mkdir(parents=True, exist_ok=True)
        # one file for the life of the run: TensorBoard reads several in a folder only when told to
        existing = sorted(folder.glob("events.out.tfevents.*"))
        path = existing[0] if existing else folder / f"events.out.tfevents.{int(self._clock())}.tfrun"
        file = Journal.open(path, "events")
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


def summary_metrics(metrics: Mapping[str, float | None], best: Mapping[str, float | None]) -> dict[str, float | None]:
    """Returns the columns of the HParams table: validation (or training, without it), best and last, and the test.

    Args:
        metrics: the newest ones, by full name.
        best: those of the best epoch.
    """
    split = "val/" if any(key.startswith("val/") for key in metrics) else "train/"
    columns: dict[str, float | None] = {}
    for key, value in metrics.items():
        if key.startswith(split):
            columns |= {f"{key}_best": best.get(key, value), f"{key}_last": value}
        elif key.startswith("test/"):
            columns[key] = value
    return columns
