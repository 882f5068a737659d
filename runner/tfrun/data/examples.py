"""Examples: a table's rows, split and encoded. The encoded rows of all splits lie in one array."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tfrun.config.data_settings import DataSettings
from tfrun.config.earlier_runs import guesses_dates, has_exact_offsets
from tfrun.data.arrays import give_back
from tfrun.data.class_weights import class_weights
from tfrun.data.encode import encode, encode_weights
from tfrun.data.fingerprint import fingerprint
from tfrun.data.found import Found, describe_cut, describe_ids, find
from tfrun.data.kinds import DateColumn
from tfrun.data.labels import with_earlier_labels
from tfrun.data.preprocessing import Preprocessing, fit
from tfrun.data.samples import Samples
from tfrun.data.splitting.split import Splits
from tfrun.data.store import Stores
from tfrun.data.table import Table, Target
from tfrun.data.targets import FittedTarget, TargetScale, is_far_from_zero, main_output, spread_is_rounding
from tfrun.data.window_array import WindowArray
from tfrun.data.windows import (
    Window,
    Windows,
    all_windows,
    describe_windows,
    newest_windows,
    split_examples,
    take_windows,
)
from tfrun.errors import DataError, as_typed


@dataclass(frozen=True)
class Examples:
    """Encoded rows of all splits, on the host.

    Attributes:
        inputs: the model's inputs, an array or a mapping of arrays, (N, ...) each. Those in memory are aligned for
            `arrays.load`; one on disk is a `StoredArray` with numbers of its own type, still to be converted.
        targets: (N, 1), float32 (scaled) or int32 (ids of classes), aligned too; of several targets a mapping of such
            arrays, by the model's output that predicts them. If the examples are windows of series, both are
            `WindowArray`s: inputs (E, length, F), targets (E, horizon).
        weights: each row's weight, (N,) of floats, or None if all rows have the same.
        splits: "train", "val" and "test" -> row numbers, int32.
        preprocessing: fitted on the training rows.
        fingerprint: SHA-256 over the raw columns and the target.
        warnings: sentences about how the rows were split, about rows that were moved to the training rows, where their
            class had none, and about numbers that lose digits in float32.
        split_rule: how the rows were split, as `run.json` records it.
        class_weights: the weights of a target's classes in training, in the order of their ids, by the model's output
            that predicts it; of the targets that have any.
        samples: a few raw rows.
        windows: if the examples are windows of series, how many series and of which size, as `run.json` records it.
        found: what is in the raw rows.
    """

    inputs: Any
    targets: Any
    splits: dict[str, np.ndarray]
    preprocessing: Preprocessing
    fingerprint: str
    weights: np.ndarray | None = None
    warnings: tuple[str, ...] = ()
    split_rule: dict[str, Any] = field(default_factory=dict)
    class_weights: dict[str, tuple[float, ...]] = field(default_factory=dict)
    samples: Samples = field(default_factory=Samples.none)
    windows: dict[str, int] | None = None
    found: Found = field(default_factory=Found)

    @property
    def num_rows(self) -> int:
        return len(main_output(self.targets))

    @property
    def arrays(self) -> tuple[Any, Any, Any]:
        """All of each row: (inputs, targets, weights), `()` for no weights."""
        return self.inputs, self.targets, () if self.weights is None else self.weights


def prepare(
    table: Table,
    data: DataSettings,
    *,
    fitted: Preprocessing | None = None,
    check_fingerprint: Callable[[str], None] | None = None,
    before_encoding: Callable[[Preprocessing], None] | None = None,
) -> Examples:
    """Splits a table, fits the preprocessing on its training rows and encodes all rows.

    Args:
        table: the raw rows. Its columns are released, see `Table.release`.
        data: how the rows are split and encoded.
        fitted: the preprocessing of a run that was trained on this table; nothing is fitted then.
        check_fingerprint: called with the table's fingerprint before anything is made of it.
        before_encoding: called with the preprocessing before rows are encoded, which starts TensorFlow's runtime.

    Raises:
        DataError: too few rows, a column without any value, a number that isn't finite, a target that can't be used.
    """
    table.require_columns()
    exact = has_exact_offsets(data)
    if not exact and data.name == "csv":
        table = with_earlier_labels(table)
    digest = fingerprint(table)
    if check_fingerprint is not None:
        check_fingerprint(digest)
    splits = split_examples(table, data)
    rows = splits.training_rows
    scale_target = data.target_scaling == "standard"
    preprocessing = fitted or fit(
        table,
        rows,
        scale_target=scale_target,
        text=data.text,
        kinds={**table.kinds, **{name: kind for name, kind in data.column_kinds.items() if name not in data.text}},
        exact=exact,
        guesses_dates=guesses_dates(data),
    )
    weights = class_weights(table, rows, preprocessing, chosen=data.class_weight)
    if data.window is not None and fitted is None:
        preprocessing = preprocessing.with_window(Window.of(data.window, table.targets))
    found = find(table, preprocessing)
    ids = [] if fitted else [*describe_ids(table), *describe_cut(table, preprocessing)]
    if before_encoding is not None:
        before_encoding(preprocessing)
    examples = _examples(table, splits, preprocessing=preprocessing, digest=digest)
    if examples.weights is not None and not examples.weights[rows].any():
        raise DataError(f"{table.source}: data.sample_weight: every training row has weight 0")
    encoded = examples.targets.values() if isinstance(examples.targets, dict) else [examples.targets]
    is_float32 = any(values.dtype == np.float32 for values in encoded)
    unscaled = describe_unscaled(table, rows, preprocessing) if is_float32 else []
    dates = [] if fitted else describe_dates(preprocessing, data.column_kinds, source=table.source)
    warnings = (*splits.notes, *ids, *dates, *unscaled, *describe_rounding(preprocessing))
    return replace(examples, warnings=warnings, split_rule=splits.rule, class_weights=weights, found=found)


def prepare_evaluation(table: Table, preprocessing: Preprocessing, *, forecasts: bool = False) -> Examples:
    """Encodes a table with a trained run's preprocessing: all rows are test rows, and none is trained on.

    Args:
        table: the raw rows. Its columns are released, see `Table.release`.
        preprocessing: the run's.
        forecasts: if windows of series are the examples, whether they are the newest one of each series, whose targets
            aren't known yet; all that have targets otherwise.

    Raises:
        DataError: columns or labels that the preprocessing does not know, a number that isn't finite.
    """
    table.require_columns()
    window = preprocessing.window
    if window is not None:
        splits: Splits = (newest_windows if forecasts else all_windows)(table, window)
    else:
        # an order of training rows needs one, though nobody trains on it
        splits = Splits({"train": np.arange(1), "val": np.arange(0), "test": np.arange(len(table.target))})
    examples = _examples(table, splits, preprocessing=preprocessing, digest=fingerprint(table))
    return replace(examples, warnings=splits.notes)


def _examples(table: Table, splits: Splits, *, preprocessing: Preprocessing, digest: str) -> Examples:
    window, described = preprocessing.window, None
    if window is not None and table.series is not None and isinstance(splits, Windows):
        described = describe_windows(splits.starts, table.series, window)
        samples = take_windows(table, splits, window)
        inputs, targets = encode_windows(table, preprocessing, window=window, starts=splits.starts, digest=digest)
    else:
        samples = Samples.take(table, splits.rows)  # before the columns are released
        inputs, targets = encode(table, preprocessing, stores=Stores.of("auto"), digest=digest)
    give_back()
    weights = encode_weights(table.weights)
    return Examples(inputs, targets, splits.rows, preprocessing, digest, weights, samples=samples, windows=described)


def encode_windows(
    table: Table, preprocessing: Preprocessing, *, window: Window, starts: np.ndarray, digest: str
) -> tuple[WindowArray, Any]:
    """Returns inputs and targets as arrays of windows, over rows that are encoded once.

    Args:
        table: the raw rows. Its columns are released.
        preprocessing: fitted on training rows.
        window: the windows.
        starts: the first row of each, (E,) int32.
        digest: the table's fingerprint.
    """
    inputs, targets = encode(table, preprocessing, stores=Stores.of("auto"), digest=digest)
    if isinstance(targets, dict):
        return window.inputs(inputs["numbers"], starts), {
            name: window.targets_of(values, starts) for name, values in targets.items()
        }
    return window.inputs(inputs["numbers"], starts), window.targets_of(targets, starts)


def describe_unscaled(table: Table, rows: np.ndarray, preprocessing: Preprocessing) -> list[str]:
    """Returns a warning for each target that isn't scaled and loses its digits in float32.

    Args:
        table: the raw rows: in the encoded ones, the digits are lost already.
        rows: the numbers of the training rows.
        preprocessing: fitted on them.
    """
    result = []
    for fitted, target in zip(preprocessing.targets.values(), table.targets.values(), strict=True):
        if fitted.task != "regression" or fitted.scale != TargetScale(exact=fitted.exact):
            continue
        values = target.values[rows].astype("float64")
        mean, spread = float(values.mean()), float(values.std())
        if not spread_is_rounding(mean, spread) and is_far_from_zero(mean, spread):
            result.append(
                "data.target_scaling: float32 has too few digits for a target so far from 0. "
                f"Received: none, for a mean of {mean:.6g} and a standard deviation of {spread:.6g}. "
                "Use standard, or trainer.precision=float64"
            )
    return result


def describe_dates(preprocessing: Preprocessing, named: Collection[str], *, source: str) -> list[str]:
    """Returns a sentence for each column of dates whose kind was guessed.

    Args:
        preprocessing: the fitted columns.
        named: the columns whose kind the config names.
        source: where the rows come from.
    """
    return [
        f"column {column.name!r} of {source}: all values are ISO dates, so the model gets "
        f"{', '.join(number.name for number in column.inputs)}. "
        f"To read it as a category: {as_typed('data.kinds', {column.name: 'category'})}"
        for column in preprocessing.columns
        if isinstance(column, DateColumn) and column.name not in named
    ]


def describe_rounding(preprocessing: Preprocessing) -> list[str]:
    """Returns a warning if a run of an earlier version rounds numbers far from 0, or no sentence."""
    if not preprocessing.rounded:
        return []
    return [
        f"{', '.join(preprocessing.rounded)}: too far from 0 for the digits of float32, in which the earlier version "
        "that began this run scales columns and computes metrics. A new run keeps all digits"
    ]


def with_any_targets(table: Table, preprocessing: Preprocessing, *, names: Sequence[str]) -> Table:
    """Returns rows without targets with arbitrary ones that the preprocessing accepts, so that they can be predicted.

    Args:
        table: the raw rows. The returned table shares their columns.
        preprocessing: the run's.
        names: of the targets, the main one first.
    """

    def arbitrary(fitted: FittedTarget) -> Target:
        value: Any = fitted.classes[0] if fitted.classes else 0.0
        return Target(np.full(len(table.target), value, dtype=object if fitted.classes else "float64"), fitted.task)

    main, *others = (arbitrary(fitted) for fitted in preprocessing.targets.values())
    return replace(
        table,
        target=main.values,
        target_name=names[0],
        task=main.task,
        weights=None,
        others=dict(zip(preprocessing.others, others, strict=True)),
    )
