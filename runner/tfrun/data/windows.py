"""Windows of a series as examples: the rows before predict the targets of those after (`data.window`).

`series.py` sorts a table's rows into series. Here is decided which windows of them are trained on, validated and
tested, and the encoded rows become arrays of windows. Each row lies in memory once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tfrun.config.data_settings import DataSettings, WindowSettings
from tfrun.data.samples import Samples
from tfrun.data.splitting.split import Splits, split
from tfrun.data.table import Series, Table
from tfrun.data.window_array import WindowArray
from tfrun.errors import DataError

WINDOW_KEY = "window"  # in preprocessing.json, and the name of the model's input
SPLITS = ("train", "val", "test")
# A window may look back into rows of its own split and of those before it. Unused are the rows after a fold in time.
RANKS = {"train": 0, "val": 1, "unused": 2, "test": 3}


@dataclass(frozen=True)
class Window:
    """What a trained run knows of its windows, as `preprocessing.json` has it.

    Attributes:
        length: the number of rows that the model sees.
        horizon: the number of rows whose target it predicts.
        targets: the names of the targets, the main one first; the past of each is an input.
        stride: the number of rows from one window to the next.
    """

    length: int
    horizon: int
    targets: tuple[str, ...]
    stride: int = 1

    @classmethod
    def of(cls, settings: WindowSettings, targets: Mapping[str, Any]) -> Window:
        """Returns the windows of a config, for targets by name."""
        return cls(settings.length, settings.horizon, tuple(targets), settings.stride)

    @classmethod
    def of_json(cls, fields: Mapping[str, Any]) -> Window:
        """Returns the windows of `preprocessing.json`."""
        return cls(**{**fields, "targets": tuple(fields["targets"])})

    @property
    def num_rows(self) -> int:
        """The number of rows of a window and its targets."""
        return self.length + self.horizon

    def inputs(self, values: Any, starts: np.ndarray) -> WindowArray:
        """Returns the windows that the model sees, (E, length, …), of rows (N, …)."""
        return WindowArray(values, starts, offset=0, length=self.length)

    def targets_of(self, values: np.ndarray, starts: np.ndarray) -> WindowArray:
        """Returns the targets of the rows after each window, (E, horizon), of targets (N, 1)."""
        return WindowArray(values[:, 0], starts, offset=self.length, length=self.horizon)


@dataclass(frozen=True)
class Windows(Splits):
    """The windows of a table that are examples; `rows` has the numbers of each split's windows, int32.

    Attributes:
        starts: the first row of each window, (E,) int32.
        fitted_on: the numbers of the training rows.
    """

    starts: np.ndarray = field(default_factory=lambda: np.arange(0))
    fitted_on: np.ndarray = field(default_factory=lambda: np.arange(0))

    @property
    def training_rows(self) -> np.ndarray:
        """The numbers of the rows to fit on."""
        return self.fitted_on


def split_examples(table: Table, data: DataSettings) -> Splits:
    """Returns the examples of each split: rows, or `Windows` of a table's series. Raises DataError as they do."""
    return split(table, data) if data.window is None else split_windows(table, data)


def split_windows(table: Table, data: DataSettings) -> Windows:
    """Returns the windows of a table's series for each split.

    The targets of a window all lie in the rows of its split. The rows that a validation or test window looks back on
    may be of a split before it, as they are when a forecast is made.

    By default each series is split by time: its newest rows test, older ones validate. Other rules of `data.split` and
    files of validation and test rows say of each row which split it is in.

    Raises:
        DataError: a split has no window.
    """
    series, settings = table.series, data.window
    assert series is not None and settings is not None
    window = Window.of(settings, table.targets)
    _refuse_too_short(table, series, window)
    rule: dict[str, Any] = {"by": "time of each series"}
    notes: tuple[str, ...] = ()
    if data.split.by == "auto":
        labels = _splits_in_time(table, series, data)
    else:
        by_rule = split(table, replace(data, limit_rows=None))
        rule, notes = by_rule.rule, by_rule.notes
        labels = _labels(by_rule.rows, len(table.target), others="unused")
    parts = {name: _windows_in(labels, RANKS[name], series=series, window=window) for name in SPLITS}
    for name in SPLITS:
        if len(parts[name]) == 0 and (name == "train" or (labels == RANKS[name]).any()):
            raise _no_window(table, name, labels, window=window)
    if data.limit_rows is not None and data.limit_rows < len(parts["train"]):
        shuffled = np.random.default_rng(data.split_seed).permutation(parts["train"])
        parts["train"] = np.sort(shuffled[: data.limit_rows])
    ends = np.cumsum([len(parts[name]) for name in SPLITS])
    numbers = {
        name: np.arange(end - len(parts[name]), end, dtype=np.int32) for name, end in zip(SPLITS, ends, strict=True)
    }
    starts = np.concatenate([parts[name] for name in SPLITS]).astype(np.int32)
    notes = (*notes, *_notes(series, window.num_rows))
    return Windows(numbers, rule, notes, starts=starts, fitted_on=np.flatnonzero(labels == RANKS["train"]))


def all_windows(table: Table, window: Window) -> Windows:
    """Returns all windows of a table's series that have targets. Raises DataError if all series are too short."""
    assert table.series is not None
    _refuse_too_short(table, table.series, window)
    labels = np.zeros(len(table.target), np.int8)
    return _to_test(_windows_in(labels, 0, series=table.series, window=window), _notes(table.series, window.num_rows))


def newest_windows(table: Table, window: Window) -> Windows:
    """Returns the newest window of each series, whose targets come after the last row.

    A series that is too short has none; `forecast_series` says which have.

    Raises:
        DataError: all series are too short.
    """
    series = table.series
    assert series is not None
    _refuse_too_short(table, series, window, num_rows=window.length)
    starts = series.bounds[1:][forecast_series(series, window)] - window.length
    return _to_test(starts, _notes(series, window.length))


def forecast_series(series: Series, window: Window) -> np.ndarray:
    """Returns the numbers of the series that are long enough for a forecast, in the order of `newest_windows`."""
    return np.flatnonzero(series.lengths >= window.length)


def take_windows(table: Table, splits: Windows, window: Window) -> Samples:
    """Returns sample windows of the raw rows, cells (E, length) each; see `Samples.take`."""
    columns = {name: window.inputs(column, splits.starts) for name, column in table.columns.items()}
    return Samples.take(replace(table, columns=columns), splits.rows)


def describe_windows(starts: np.ndarray, series: Series, window: Window) -> dict[str, int]:
    """Returns what `run.json` says of the windows that are examples."""
    num_rows = int(series.bounds[-1])
    begins = np.bincount(starts, minlength=num_rows + 1)
    # a forecast's targets come after the last row
    ends = np.bincount(np.minimum(starts + window.num_rows, num_rows), minlength=num_rows + 1)
    return {
        "series": len(series.names),
        "length": window.length,
        "horizon": window.horizon,
        "stride": window.stride,
        "rows_unused": int((np.cumsum(begins - ends)[:-1] == 0).sum()),
    }


def sentence_on_windows(described: Mapping[str, int]) -> str:
    """Returns what `describe_windows` says, as a sentence."""
    many = "one series" if described["series"] == 1 else f"{described['series']:,} series"
    unused = f"; {described['rows_unused']:,} rows are in none" if described["rows_unused"] else ""
    return f"windows of {many}: {described['length']} rows predict the next {described['horizon']}{unused}"


def rows_of_samples(samples: Samples, window: Window) -> tuple[Samples, Series]:
    """Returns sample windows, cells (E, length), as rows, (E · length,), each window a series of its own.

    Raises:
        ValueError: they aren't such windows.
    """
    count = len(samples.rows)
    if any(cells.shape != (count, window.length) for cells in samples.columns.values()):
        raise ValueError(f"its cells aren't windows of {window.length} rows")
    columns = {name: cells.reshape(-1) for name, cells in samples.columns.items()}
    bounds = np.arange(count + 1, dtype=np.int64) * window.length
    series = Series(bounds, tuple(str(k) for k in range(count)))
    return Samples(np.repeat(samples.rows, window.length), columns), series


def _to_test(starts: np.ndarray, notes: tuple[str, ...]) -> Windows:
    # an order of training rows needs one, though nobody trains on it
    rows = {"train": np.arange(1), "val": np.arange(0), "test": np.arange(len(starts))}
    return Windows(rows, notes=notes, starts=starts.astype(np.int32))


def _labels(rows: Mapping[str, np.ndarray], num_rows: int, *, others: str) -> np.ndarray:
    """Returns the rank of the split that each row is in, (N,) int8; rows in none are in `others`."""
    labels = np.full(num_rows, RANKS[others], np.int8)
    for name in SPLITS:
        labels[rows[name]] = RANKS[name]
    return labels


def _splits_in_time(table: Table, series: Series, data: DataSettings) -> np.ndarray:
    """Returns the number of the split that each row is in, (N,) int8: rows of files of their own are in theirs."""
    given = table.given or {}
    labels = _labels({name: given.get(name, np.arange(0)) for name in SPLITS}, len(table.target), others="train")
    is_given = labels > RANKS["train"]
    ends = series.bounds[1:]
    others_before = np.concatenate([[0], np.cumsum(~is_given)])
    lengths = others_before[ends] - others_before[series.bounds[:-1]]
    tested = np.round(lengths * (0 if "test" in given else data.test_split)).astype(np.int64)
    validated = np.round(lengths * (0 if "val" in given else data.validation_split)).astype(np.int64)
    # the number of rows of its series from a row on
    left = np.repeat(others_before[ends], series.lengths) - others_before[:-1]
    is_test = left <= np.repeat(tested, series.lengths)
    is_held_out = left <= np.repeat(tested + validated, series.lengths)
    cut = np.where(is_test, RANKS["test"], np.where(is_held_out, RANKS["val"], RANKS["train"]))
    return np.where(is_given, labels, cut).astype(np.int8)


def _windows_in(labels: np.ndarray, split: int, *, series: Series, window: Window) -> np.ndarray:
    """Returns the first row of each window whose targets are all in a split, and whose other rows in none after it."""
    ends = np.repeat(series.bounds[1:], series.lengths)
    starts = np.flatnonzero(np.arange(len(labels)) + window.num_rows <= ends)
    others = np.concatenate([[0], np.cumsum(labels != split)])
    later = np.concatenate([[0], np.cumsum(labels > split)])
    begin, end = starts + window.length, starts + window.num_rows
    starts = starts[(others[end] == others[begin]) & (later[begin] == later[starts])]
    if len(starts) == 0:
        return starts
    # a stride is counted from the newest window of each series
    of_series = np.searchsorted(series.bounds, starts, side="right")
    newest = starts[np.searchsorted(of_series, of_series, side="right") - 1]
    return starts[(newest - starts) % window.stride == 0]


def _refuse_too_short(table: Table, series: Series, window: Window, *, num_rows: int | None = None) -> None:
    """Raises DataError if no series has the rows of one window."""
    needed = num_rows or window.num_rows
    if series.lengths.max(initial=0) < needed:
        which = "the file has" if len(series.names) == 1 else f"the longest of {len(series.names)} series has"
        sizes = f"length {window.length}" + ("" if num_rows else f" and horizon {window.horizon}")
        raise DataError(
            f"{table.source}: data.window: a window of {sizes} needs {needed} rows of a series, and "
            f"{which} {series.lengths.max(initial=0)}. Make it shorter, or predict fewer steps"
        )


def _no_window(table: Table, split: str, labels: np.ndarray, *, window: Window) -> DataError:
    """Returns the error for a split in whose rows no window has its targets."""
    num_rows = int((labels == RANKS[split]).sum())
    if split == "train":
        return DataError(
            f"{table.source}: data.window: no window of length {window.length} and horizon {window.horizon} fits into "
            f"the training rows of a series. Received: {num_rows} training rows. Make the window shorter, or lower "
            "data.validation_split and data.test_split"
        )
    key = {"val": "data.validation_split", "test": "data.test_split"}[split]
    return DataError(
        f"{table.source}: {key}: the {split} rows of a series must hold the {window.horizon} targets of a window, with "
        f"{window.length} rows before them. Received: {num_rows} {split} rows. Give it a larger share, or 0"
    )


def _notes(series: Series, num_rows: int) -> tuple[str, ...]:
    """Returns a sentence on series with fewer rows than are needed, if any."""
    short = series.lengths < num_rows
    if not short.any():
        return ()
    names = [repr(series.names[k]) for k in np.flatnonzero(short)[:3]]
    more = ", …" if short.sum() > len(names) else ""
    return (
        f"data.window: {int(short.sum()):,} of {len(short):,} series are shorter than {num_rows} rows and left "
        f"out ({', '.join(names)}{more}), with {int(series.lengths[short].sum()):,} rows",
    )
