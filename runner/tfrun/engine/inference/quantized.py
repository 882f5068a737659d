"""Exports a run as a quantized LiteRT file, if the run's metric on its test rows hardly changes by that."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.config.catalog import Catalog
from tfrun.config.directions import direction_of
from tfrun.config.settings import Settings
from tfrun.console import Terminal, say
from tfrun.data.kinds import ArrayColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.data.windows import Window, Windows, split_examples
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.inference.exporting import clean_process, formats
from tfrun.engine.inference.exporting.compared_rows import rows_to_compare
from tfrun.engine.inference.exporting.format import ExportError
from tfrun.engine.inference.exporting.portable import inputs_of, portable, raw_rows
from tfrun.engine.inference.opening import open_to_evaluate
from tfrun.engine.inference.outputs import outputs_from_predictions, outputs_of, predictions_of, sizes
from tfrun.engine.inference.trained import rows_of_test
from tfrun.engine.training import feed
from tfrun.engine.training.undefined import value_of
from tfrun.errors import ConfigError
from tfrun.files.exports import Checked, Export, Quantization, Quantized
from tfrun.files.runs import EXPORTS, RunFolder
from tfrun.folders import shown
from tfrun.reports.quantization import sentence_on_quantized

FORMAT = "litert"
NUM_CALIBRATED = 1000  # training rows whose ranges int8 covers; values beyond them are clipped
MAX_TESTED = 20_000  # test rows
BATCH_SIZE = 1024
NO_TOLERANCE_LIMIT = 1e30  # times the size of predictions: only other shapes and nan differ by more
NUM_CALLS = 200  # whose median is taken
SEED = 0


def export_quantized(
    settings: Settings,
    folder: RunFolder,
    *,
    catalog: Catalog,
    table: Table,
    fitted: Preprocessing,
    export_to: Export,
    quantization: Quantization,
) -> Checked:
    """Writes a run's best weights as a quantized LiteRT file of raw rows, and measures what that has changed.

    Args:
        settings: the config.
        folder: the run.
        catalog: the components.
        table: the raw rows of the run's data.
        fitted: the run's preprocessing.
        export_to: the format and the place.
        quantization: how it is quantized, and how much worse the metric may become.

    Returns:
        The results of the comparisons.

    Raises:
        TfrunError: LiteRT can't hold the model, the data have changed, or the metric drops too much.
    """
    formats.check_format(FORMAT, fitted)
    raw = _RawRows(settings, fitted)
    opened = open_to_evaluate(settings, folder, catalog=catalog, table=table, fitted=fitted, before_encoding=raw.take)
    pieces = opened.pieces
    metric = _metric(pieces)
    rows_of_test(pieces)
    with export_to.replaced(opened.step) as temporary:
        off, quantized = _write(pieces, temporary, raw=raw, metric=metric, kind=quantization.kind)
        if not quantized.drop <= quantization.max_drop:
            raise ExportError(
                f"quantize={quantization.kind}: the drop is more than max_drop={quantization.max_drop:g}: "
                f"{sentence_on_quantized(quantized)}. Nothing was written"
            )
    console = Terminal()
    say(console, f"{shown(export_to.path)}, best weights up to step {opened.step}")
    for name, kind in inputs_of(fitted).items():
        say(console, f"        {name}: {kind}")
    say(console, sentence_on_quantized(quantized))
    num_rows = len(pieces.examples.samples.rows)
    say(console, f"loaded in a clean process: {num_rows} rows of {table.source}, single predictions at most "
        f"{off:.2g} off the run's own")  # fmt: skip
    return Checked(num_rows, off, quantized=quantized)


def _write(pieces: Pieces, folder: Path, *, raw: _RawRows, metric: Any, kind: str) -> tuple[float, Quantized]:
    """Writes the file in float32, which is compared with the run, and then the quantized file in its place.

    Returns:
        The largest difference between a prediction of the quantized file and one of the run, and what the two files
        were measured to be.
    """
    from tfrun.engine.inference.exporting.quantization import write_quantized  # here, since it needs LiteRT's schema

    preprocessing = pieces.examples.preprocessing
    model = portable(pieces.parts.model, preprocessing)
    inputs, columns = rows_to_compare(pieces.examples)
    expected = predictions_of(outputs_of(pieces.parts.model, inputs, as_graph=True), preprocessing)
    rows = raw_rows(columns, preprocessing)
    options: dict[str, Any] = {"preprocessing": preprocessing, "rows": rows, "expected": expected}
    formats.write_checked(model, FORMAT, folder=folder, **options)
    path = folder / EXPORTS[FORMAT]
    exact = _measured(path, pieces, raw=raw, metric=metric)
    cells = [column.name for column in preprocessing.columns if not isinstance(column, ArrayColumn)]
    with formats.converting(path, f"{FORMAT} quantize={kind}"):
        write_quantized(model, path, kind=kind, rows=raw.training, cells=cells)
    off = clean_process.largest_difference(
        path,
        formats.FORMATS[FORMAT],
        rows=rows,
        expected=expected,
        sizes=sizes(expected, preprocessing),
        tolerance=NO_TOLERANCE_LIMIT,
    )
    rounded = _measured(path, pieces, raw=raw, metric=metric)
    return off, Quantized(
        kind,
        metric.name,
        direction_of(metric),
        values=(exact.value, rounded.value),
        num_rows=len(raw.tested),
        sizes=(exact.num_bytes, rounded.num_bytes),
        milliseconds=(exact.milliseconds, rounded.milliseconds),
    )


class _RawRows:
    """Copies raw rows before they are encoded: some training rows, and test rows.

    Args:
        settings: the config.
        fitted: the run's preprocessing.

    Attributes:
        training: raw rows by column, as `portable` takes them.
        test: the same of test rows.
        tested: the numbers of the test rows, (R,).
    """

    def __init__(self, settings: Settings, fitted: Preprocessing):
        self._settings, self._fitted = settings, fitted
        self.training: dict[str, np.ndarray] = {}
        self.test: dict[str, np.ndarray] = {}
        self.tested = np.arange(0)

    def take(self, table: Table) -> None:
        """Copies the rows; of very many, some that are chosen at random."""
        splits = split_examples(table, self._settings.data)
        columns: Mapping[str, Any] = table.columns
        if isinstance(splits, Windows):
            assert self._settings.data.window is not None
            window = Window.of(self._settings.data.window, table.targets)
            columns = {name: window.inputs(column, splits.starts) for name, column in columns.items()}
        self.tested = _chosen(splits.rows["test"], MAX_TESTED)
        self.test = self._rows(columns, self.tested)
        self.training = self._rows(columns, _chosen(splits.training_rows, NUM_CALIBRATED))

    def _rows(self, columns: Mapping[str, Any], rows: np.ndarray) -> dict[str, np.ndarray]:
        return raw_rows({name: np.array(column[rows]) for name, column in columns.items()}, self._fitted)


def _chosen(rows: np.ndarray, most: int) -> np.ndarray:
    """Returns the numbers of rows, or of `most` of them that are chosen at random."""
    return rows if len(rows) <= most else np.sort(np.random.default_rng(SEED).choice(rows, most, replace=False))


def _metric(pieces: Pieces) -> keras.metrics.Metric:
    """Returns the metric that is measured: the monitored one, or the first. Raises ConfigError if there is none."""
    metrics = pieces.parts.val_metrics.metrics
    if not pieces.parts.step.learns_targets or not metrics:
        raise ConfigError(
            "quantize: needs a metric of the data's target, by which the drop is measured. "
            f"Received: metric: {', '.join(metric.name for metric in metrics) or 'none'}, "
            f"algorithm={pieces.settings.algorithm.name}"
        )
    monitored = pieces.settings.checkpoint.monitor.partition("/")[2]
    return next((metric for metric in metrics if metric.name == monitored), metrics[0])


@dataclass(frozen=True)
class _Measured:
    """What was measured of a LiteRT file.

    Attributes:
        value: of the metric.
        num_bytes: the size of the file.
        milliseconds: the time to predict one row.
    """

    value: float
    num_bytes: int
    milliseconds: float


def _measured(path: Path, pieces: Pieces, *, raw: _RawRows, metric: keras.metrics.Metric) -> _Measured:
    """Returns the metric, the size and the time of a LiteRT file, which is run on one thread."""
    from ai_edge_litert.interpreter import Interpreter

    call = Interpreter(model_path=str(path), num_threads=1).get_signature_runner()
    rows = {"self_" if name == "self" else name: cells for name, cells in raw.test.items()}
    parts = [
        call(**{name: cells[start : start + BATCH_SIZE] for name, cells in rows.items()})
        for start in range(0, len(raw.tested), BATCH_SIZE)
    ]
    predicted = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    value = _value(pieces, raw.tested, predicted=predicted, metric=metric)
    return _Measured(value, path.stat().st_size, _milliseconds(call, {name: cells[:1] for name, cells in rows.items()}))


def _value(
    pieces: Pieces, rows: np.ndarray, *, predicted: Mapping[str, np.ndarray], metric: keras.metrics.Metric
) -> float:
    """Returns the run's metric of predictions, as `tfrun evaluate` computes it from the model's outputs."""
    _, y, weights = feed.take(pieces.examples, rows)
    metrics = pieces.parts.val_metrics
    for each in metrics.all:
        each.reset_state()
    outputs = outputs_from_predictions(predicted, pieces.examples.preprocessing)
    y, outputs, weights = tf.nest.map_structure(tf.convert_to_tensor, (y, outputs, weights))
    metrics.update(y, outputs, None if isinstance(weights, tuple) else weights)
    return float(value_of(metric))


def _milliseconds(call: Any, row: Mapping[str, np.ndarray]) -> float:
    """Returns the median time of a call; the first one, which allocates memory, isn't counted."""
    call(**row)
    seconds = []
    for _ in range(NUM_CALLS):
        started = time.perf_counter()
        call(**row)
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)
