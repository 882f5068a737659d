"""The predictions of a model for the steps after the last row of each series, as columns for people and programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfrun.data.series_times import times_after
from tfrun.data.table import Series
from tfrun.data.windows import Window, forecast_series
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.inference.outputs import predictions_of
from tfrun.engine.training import feed
from tfrun.protocols import MAIN_OUTPUT, ModelOffer

STEP = "step"


def columns(pieces: Pieces, series: Series | None, *, names: list[str], window: Window) -> dict[str, Any]:
    """Returns columns by name, (S · horizon,) each, the steps of one series after the other.

    They are the column that tells series apart, if there is one; the time, if the times of all series are regular; the
    step, from 1 on; and each target's prediction. If the model offers samples, there is also `<target>_std` of the main
    target, the standard deviation of each step's samples.

    Args:
        pieces: a run's, with the weights to use, over the newest window of each series.
        series: those of the table.
        names: of the targets, the main one first.
        window: the run's.
    """
    assert series is not None
    which = forecast_series(series, window)
    result: dict[str, Any] = {}
    if series.by is not None:
        result[series.by] = np.repeat(np.array(series.names, dtype=object)[which], window.horizon)
    times = _times(series, which, window=window)
    if series.time is not None and times is not None:
        result[series.time] = times
    step = STEP if STEP not in (*result, *names) else f"{STEP}_"
    result[step] = np.tile(np.arange(1, window.horizon + 1), len(which))
    targets = pieces.examples.preprocessing.targets
    predicted, spread = _predictions(pieces)
    for name, output in zip(names, targets, strict=True):
        result[name] = predicted[output].reshape(-1)
    if spread is not None and f"{names[0]}_std" not in result:
        result[f"{names[0]}_std"] = targets[MAIN_OUTPUT].standard_deviation * spread.reshape(-1)
    return result


def _times(series: Series, which: np.ndarray, *, window: Window) -> list[Any] | None:
    """Returns the times of all steps, or None if there are none or those of a series aren't regular."""
    if series.times is None:
        return None
    result: list[Any] = []
    for k in which.tolist():
        after = times_after(series.times[series.bounds[k] : series.bounds[k + 1]].tolist(), window.horizon)
        if after is None:
            return None
        result += after
    return result


def _predictions(pieces: Pieces) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Returns the predictions by output, (S, horizon), and the deviations of the main one's samples, if any."""
    model, examples = pieces.parts.model, pieces.examples
    has_targets = pieces.parts.step.learns_targets
    samples = ModelOffer.of(model).samples if has_targets else None
    call = tf.function(lambda inputs: model(inputs, training=False), autograph=False, reduce_retracing=True)
    parts: dict[str, list[np.ndarray]] = {}
    spreads: list[np.ndarray] = []
    size = feed.rows_to_evaluate(examples)
    for start in range(0, examples.num_rows, size):
        numbers = np.arange(start, min(start + size, examples.num_rows))
        inputs, _, _ = feed.take(examples, numbers)
        for output, values in predictions_of(call(inputs), examples.preprocessing, has_targets=has_targets).items():
            parts.setdefault(output, []).append(values)
        if samples is not None:
            spreads.append(np.asarray(tf.cast(samples(inputs), tf.float64)).std(axis=1))
    predicted = {output: np.concatenate(values) for output, values in parts.items()}
    return predicted, np.concatenate(spreads) if spreads else None
