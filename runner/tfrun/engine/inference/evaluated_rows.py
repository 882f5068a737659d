"""Predicts the test rows of a trained run, for the page of `tfrun report`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfrun.config.catalog import Catalog
from tfrun.config.settings import Settings
from tfrun.data import arrays
from tfrun.data.examples import Examples
from tfrun.data.kinds import ArrayColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table, Target
from tfrun.data.targets import of_output
from tfrun.data.unseen import unseen_rows
from tfrun.data.window_array import WindowArray
from tfrun.data.windows import split_examples
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.inference.opening import OpenedRun, open_to_evaluate
from tfrun.engine.inference.permutation import importance
from tfrun.engine.inference.predictions import Predictor
from tfrun.engine.inference.trained import warnings_of_test
from tfrun.engine.recording import images
from tfrun.engine.training import feed
from tfrun.engine.training.program import Program
from tfrun.errors import DataError
from tfrun.files.runs import RunFolder
from tfrun.protocols import ModelOffer
from tfrun.reports.evaluated_rows import EvaluatedRows, Picture, TargetRows, TargetWindows

MAX_ROWS = 100_000  # whose predictions are looked at one by one
MAX_NUMBERS = 20_000_000  # rows times outputs
MAX_WINDOWS = 2_000  # that are forecast
NUM_FORECASTS = 4  # that have a chart
NUM_IMAGES = 12  # of the worst rows, and of others
MIN_SIDE = 6  # pixels of an image
SEED = 0


def read_evaluated_rows(
    settings: Settings,
    folder: RunFolder,
    *,
    catalog: Catalog,
    table: Table,
    fitted: Preprocessing,
    other_data: bool = False,
) -> EvaluatedRows:
    """Returns the test rows of a run with what its best weights predict; validation rows if it has no test rows.

    Args:
        settings: the config, with the data to evaluate on.
        folder: the run.
        catalog: the components.
        table: the raw rows of the config's data. Its columns are released.
        fitted: the run's preprocessing.
        other_data: whether `settings.data` is not what the run was trained on; then all rows are test rows.

    Raises:
        DataError: the run's own data have changed, or there are neither test rows nor validation rows.
        CheckpointError: the run has no checkpoint.
    """
    unseen = {} if fitted.window else unseen_rows(table, fitted)
    raw = _RawRows(settings, fitted, other_data=other_data)
    opened = open_to_evaluate(
        settings,
        folder,
        catalog=catalog,
        table=table,
        fitted=fitted,
        other_data=other_data,
        before_encoding=raw.take,
    )
    pieces, program = opened.pieces, opened.program
    evaluated = _with_metrics(opened, raw=raw, unseen=unseen)
    learns_targets = pieces.parts.step.learns_targets
    if fitted.window is not None and learns_targets:
        return replace(evaluated, forecasts=forecasts_of(pieces, pieces.examples.splits[raw.split]))
    has_predictions = fitted.window is None and learns_targets
    return _with_predictions(evaluated, pieces, program, raw=raw) if has_predictions else evaluated


def _with_metrics(opened: OpenedRun, *, raw: _RawRows, unseen: Mapping[str, np.ndarray]) -> EvaluatedRows:
    """Returns the rows with their metrics, and sentences on what a person should know of them."""
    pieces = opened.pieces
    settings, examples = pieces.settings, pieces.examples
    rows, fitted = examples.splits[raw.split], examples.preprocessing
    warnings = warnings_of_test(pieces, unseen, other_data=raw.other_data, split=raw.split)
    left_out = _notes(pieces, num_rows=len(rows), num_kept=len(raw.rows))
    return EvaluatedRows(
        split="all" if raw.other_data else raw.split,
        source=pieces.table.source,
        num_rows=len(rows),
        step=opened.step,
        metrics=opened.program.evaluate(rows),
        notes=(*warnings, *left_out),
        is_windows=fitted.window is not None,
        shows_rows=settings.data.keep_samples,
        empty=examples.found.filled,
    )


def _with_predictions(evaluated: EvaluatedRows, pieces: Pieces, program: Program, *, raw: _RawRows) -> EvaluatedRows:
    """Returns the rows with their predictions, their raw cells, and the importance of the columns."""
    targets = target_rows(pieces, raw.rows)
    worst = targets[0].worst(NUM_IMAGES)
    others = np.setdiff1d(np.arange(len(raw.rows)), worst)
    chosen = np.random.default_rng(SEED).permutation(others)[:NUM_IMAGES]
    pictures = pictures_of(pieces.examples, raw.rows, np.concatenate([worst, chosen])) if evaluated.shows_rows else []
    return replace(
        evaluated,
        places=_Places(pieces.table, raw.rows),
        columns=raw.cells,
        targets=targets,
        importance=importance(pieces, program, pieces.examples.splits[raw.split]),  # last, as it changes the program
        worst_images=pictures[: len(worst)],
        random_images=pictures[len(worst) :],
    )


def forecasts_of(pieces: Pieces, windows: np.ndarray, *, traces: bool = True) -> list[TargetWindows]:
    """Returns the errors by steps ahead of each target of numbers, and some windows with their forecasts.

    Args:
        pieces: the run's, with the weights to use.
        windows: the numbers of the windows; of very many, some are chosen at random.
        traces: whether the model is compiled first.
    """
    examples, window = pieces.examples, pieces.examples.preprocessing.window
    assert window is not None
    if len(windows) > MAX_WINDOWS:
        windows = np.sort(np.random.default_rng(SEED).choice(windows, MAX_WINDOWS, replace=False))
    names = list(pieces.table.targets)
    predicted = Predictor(pieces.parts.model, examples.preprocessing, names=names, learns_targets=True, traces=traces)
    values = predicted.arrays(examples, windows)
    shown = np.unique(np.linspace(0, len(windows) - 1, NUM_FORECASTS).astype(int))  # of early windows and late ones
    result = []
    for name, (output, fitted) in zip(names, examples.preprocessing.targets.items(), strict=True):
        targets = of_output(examples.targets, output)
        if fitted.classes or not isinstance(targets, WindowArray):
            continue
        past = WindowArray(targets.values, targets.starts, offset=0, length=window.length)
        true, history = (
            fitted.mean + fitted.standard_deviation * np.asarray(each, "float64")
            for each in (targets[windows], past[windows[shown]])
        )
        errors = np.abs(values[output] - true).mean(axis=0)
        result.append(TargetWindows(name, errors, len(windows), history, true[shown], values[output][shown]))
    return result


class _RawRows:
    """Chooses the rows, and copies their raw cells before they are encoded.

    Args:
        settings: the config.
        fitted: the run's preprocessing.
        other_data: whether all rows are test rows.

    Attributes:
        other_data: as given.
        split: "test", or "val" if there are no test rows.
        rows: the numbers of the rows, or of a selection if there are very many, (R,); none of windows of
            series.
        cells: by column, (R,) each, without arrays.
    """

    def __init__(self, settings: Settings, fitted: Preprocessing, *, other_data: bool):
        self._settings, self._fitted, self.other_data = settings, fitted, other_data
        self.split, self.rows = "test", np.arange(0)
        self.cells: dict[str, Any] = {}

    def take(self, table: Table) -> None:
        """Chooses the rows and copies their cells. Raises DataError if there are none."""
        if not self.other_data:
            splits = split_examples(table, self._settings.data).rows
            self.split = "test" if len(splits["test"]) else "val"
            if not len(splits[self.split]):
                raise DataError("data.test_split: there are neither test rows nor validation rows. Received: 0 rows")
        if self._fitted.window is not None:
            return
        rows = np.arange(len(table.target)) if self.other_data else splits[self.split]
        width = max(len(target.classes) or 1 for target in self._fitted.targets.values())
        most = min(MAX_ROWS, MAX_NUMBERS // width)
        if len(rows) > most:
            rows = np.sort(np.random.default_rng(SEED).choice(rows, most, replace=False))
        self.rows = rows
        self.cells = {name: np.array(column[rows]) for name, column in table.columns.items() if column.ndim == 1}


class _Places(Sequence[str]):
    """The line of each row, after its file if there are several; files are read only for the rows asked for."""

    def __init__(self, table: Table, rows: np.ndarray):
        self._table, self._rows = table, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: Any) -> Any:
        return self._table.find(int(self._rows[place]))[0].removeprefix(f"{self._table.source}:").strip()


def _notes(pieces: Pieces, *, num_rows: int, num_kept: int) -> Iterator[str]:
    """Yields sentences on what the page leaves out."""
    if pieces.examples.windows is not None:
        yield "The rows are windows of series: the page has their metrics and forecasts, but no worst rows."
        return
    if not pieces.parts.step.learns_targets:
        yield "The run's algorithm doesn't learn the target of the data, so no prediction can be compared with it."
        return
    if not pieces.settings.data.keep_samples:
        yield "Single rows are left out, since the run has data.keep_samples=false."
    if num_kept < num_rows:
        yield f"The charts and tables show {num_kept:,} of {num_rows:,} rows, chosen at random; the metrics are of all."
    if pieces.examples.weights is not None:
        yield "The metrics count each row with its weight; the charts and tables count each row once."
    if ModelOffer.of(pieces.parts.model).samples is not None:
        yield "The spread of the model's samples is left out; tfrun predict writes it for each row."


def target_rows(pieces: Pieces, rows: np.ndarray, *, traces: bool = True) -> list[TargetRows]:
    """Returns the true and the predicted values of all targets.

    Args:
        pieces: a run's, with the weights to use.
        rows: the numbers of the rows, (R,).
        traces: whether the model is compiled first, which is worth it for many rows.
    """
    examples, table = pieces.examples, pieces.table
    predictor = Predictor(
        pieces.parts.model, examples.preprocessing, names=list(table.targets), learns_targets=True, traces=traces
    )
    predicted = predictor.arrays(examples, rows)
    result = []
    for (name, target), (output, fitted) in zip(
        table.targets.items(), examples.preprocessing.targets.items(), strict=True
    ):
        classes = tuple(fitted.classes)
        values = predicted[output]
        encoded = np.asarray(of_output(examples.targets, output)[rows])[:, 0]
        true = encoded.astype("int64") if classes else _numbers(target, rows)
        result.append(TargetRows(name, classes, true, values if classes else values[:, 0]))
    return result


def _numbers(target: Target, rows: np.ndarray) -> np.ndarray:
    """Returns the raw numbers of a target, which the encoded ones may have too few digits for."""
    return np.asarray(target.values[rows], "float64")


def pictures_of(examples: Examples, rows: np.ndarray, chosen: np.ndarray) -> list[Picture]:
    """Returns the images of some of the rows; none if the data has no images.

    Args:
        examples: the encoded rows, whose arrays are as they were read.
        rows: the numbers of the rows, (R,).
        chosen: the places of some of them.
    """
    column = next((column for column in examples.preprocessing.arrays if _is_image(column)), None)
    if column is None:
        return []
    inputs = examples.inputs
    array = inputs[examples.preprocessing.input_name(column)] if isinstance(inputs, dict) else inputs
    values = arrays.take(array, rows[chosen], dtype=feed.dtype_of(array))
    return [Picture(int(place), png) for place, png in zip(chosen, images.small_images(values), strict=True)]


def _is_image(column: ArrayColumn) -> bool:
    shape = column.shape
    has_channels = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    return has_channels and min(shape[:2]) >= MIN_SIDE
