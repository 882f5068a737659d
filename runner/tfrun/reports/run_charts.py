"""The charts of one run: its curves, its residuals or its decisions, and the importance of its columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfrun.files.strict_json import defined
from tfrun.reports import measures
from tfrun.reports.charts import MAX_EPOCHS, Chart
from tfrun.reports.evaluated_rows import Importance, TargetRows, TargetWindows
from tfrun.reports.importance import is_logarithmic
from tfrun.reports.svg import (
    Axis,
    Mark,
    Point,
    column_chart,
    line_chart,
    matrix_chart,
    number_axis,
    point_chart,
    value_chart,
)
from tfrun.reports.texts import readable

MAX_POINTS = 300  # of a chart
MAX_CURVE = 120  # points of a ROC curve
MAX_MATRIX = 12  # classes
MAX_ONE_AGAINST_REST = 20  # classes that have a ROC curve each
NUM_PAIRS = 15  # of classes that are confused
MAX_BARS = 15
SEED = 0


def curve_charts(lines: Sequence[Mapping[str, Any]], best_epoch: int | None) -> Iterator[Chart]:
    """Yields a chart for each metric over the epochs: training and validation, and the best epoch.

    Args:
        lines: of metrics.jsonl.
        best_epoch: the one whose weights are the best, if any.
    """
    names = [key.partition("/")[2] for line in lines for key in line if key.startswith(("train/", "val/"))]
    for name in dict.fromkeys(names):
        curves = {split: _curve(lines, f"{split}/{name}") for split in ("train", "val")}
        points = [point for curve in curves.values() for point in curve if point is not None]
        if not points:
            yield Chart(name, "", "It isn't defined in any epoch.")
            continue
        values = [value for _, value in points]
        x = number_axis("epoch", [epoch for epoch, _ in points])
        y = number_axis(name, values, is_logarithmic=is_logarithmic(values))
        marks = [Mark(curve, split, is_best=split == "val") for split, curve in curves.items() if curve]
        best = [point for point in curves["val"] or curves["train"] if point and point[0] == best_epoch]
        dots = [Mark([point], f"epoch {point[0]:.0f}: {point[1]:.6g}", is_best=True) for point in best]
        yield Chart(name, line_chart(x, y, marks, dots))


def _curve(lines: Sequence[Mapping[str, Any]], key: str) -> list[Point | None]:
    """Returns (epoch, value) of at most about 200 epochs; None, a gap, where the value isn't defined."""
    entries = [(float(line["epoch"]), defined(line[key])) for line in lines if key in line]
    every = -(-len(entries) // MAX_EPOCHS) or 1
    kept = dict(entries[::every] + entries[-1:])
    return [None if value is None else (epoch, value) for epoch, value in kept.items()]


def target_charts(target: TargetRows, *, shows_rows: bool = True) -> Iterator[Chart]:
    """Yields the charts of what is predicted for a target; `shows_rows` is whether a point may be a single row."""
    if target.is_number:
        yield from _number_charts(target, shows_rows=shows_rows)
    elif len(target.classes) == 2:
        yield from _two_class_charts(target)
    else:
        yield from _many_class_charts(target)


def forecast_charts(target: TargetWindows, *, shows_rows: bool = True) -> Iterator[Chart]:
    """Yields the error of each step ahead, and some forecasts unless single rows may not be shown."""
    steps = [(float(step + 1), float(error)) for step, error in enumerate(target.errors)]
    x = number_axis("steps ahead", [step for step, _ in steps])
    y = number_axis("mean absolute error", [0.0, *(error for _, error in steps)])
    dots = [_point(step, error, f"{step:.0f} ahead: off by {readable(error)}") for step, error in steps]
    note = f"The mean absolute error of {target.name} over {target.num_windows:,} windows."
    yield Chart("Error by steps ahead", line_chart(x, y, [Mark(steps, "error", is_best=True)], dots), note)
    windows = zip(target.history, target.true, target.predicted, strict=True) if shows_rows else ()
    for number, (history, true, predicted) in enumerate(windows):
        known = _series(history, 1 - len(history))
        values = [value for _, value in (*known, *_series(true, 1), *_series(predicted, 1))]
        x = number_axis("steps from the last known row", [float(1 - len(history)), float(len(true))])
        lines = [
            Mark([*known, *_series(true, 1)], "true"),
            Mark([known[-1], *_series(predicted, 1)], "forecast", is_best=True),
            Mark([(0.0, min(values)), (0.0, max(values))], "the last known row", is_reference=True),
        ]
        yield Chart(f"Forecast {number + 1}", line_chart(x, number_axis(target.name, values), lines))


def _series(values: np.ndarray, first: int) -> list[tuple[float, float]]:
    """Returns the points of values at consecutive steps."""
    return [(float(first + k), float(value)) for k, value in enumerate(values)]


def _number_charts(target: TargetRows, *, shows_rows: bool) -> Iterator[Chart]:
    """Yields predicted against true, residuals over predictions, and the distribution of the residuals."""
    is_finite = np.isfinite(target.predicted)
    true, predicted, errors = target.true[is_finite], target.predicted[is_finite], target.errors[is_finite]
    found = measures.residuals(true, predicted)
    if found is None:
        yield Chart("Predicted against true", "", "No prediction is finite.")
        return
    if shows_rows:
        yield from _point_charts(target.name, true, predicted)
    tends = f"predictions are too {'high' if found.mean > 0 else 'low'} on average" if found.mean else "they cancel out"
    yield Chart(
        "Distribution of the residuals",
        _histogram("predicted − true", errors),
        f"Mean {readable(found.mean)}: {tends}. Half of the rows are off by at most {readable(found.median)}, 90 % by "
        f"at most {readable(found.high)}.",
    )


def _point_charts(name: str, true: np.ndarray, predicted: np.ndarray) -> Iterator[Chart]:
    """Yields the two charts that have a point for each row, or for some of very many."""
    kept = _thinned(np.abs(predicted - true))
    note = f"{len(kept):,} of {len(true):,} rows: the worst, and others at random." if len(kept) < len(true) else ""
    points = list(zip(true[kept].tolist(), predicted[kept].tolist(), strict=True))
    values = [value for point in points for value in point]
    x, y = number_axis(f"true {name}", values), number_axis("predicted", values)
    diagonal = Mark([(end, end) for end in (min(values), max(values))], "predicted = true", is_reference=True)
    marks = [Mark([point], f"true {readable(point[0])}, predicted {readable(point[1])}") for point in points]
    yield Chart("Predicted against true", point_chart(x, y, marks, [diagonal]), note)
    points = [(predicted_value, predicted_value - true_value) for true_value, predicted_value in points]
    places = [place for place, _ in points]
    x = number_axis(f"predicted {name}", places)
    y = number_axis("predicted − true", [0.0, *(error for _, error in points)])
    zero = Mark([(end, 0.0) for end in (min(places), max(places))], "0", is_reference=True)
    marks = [Mark([point], f"predicted {readable(point[0])}, off by {readable(point[1])}") for point in points]
    yield Chart("Residuals over predictions", point_chart(x, y, marks, [zero]), note)


def _two_class_charts(target: TargetRows) -> Iterator[Chart]:
    """Yields confusion, ROC, precision and recall, calibration, and the distribution of the probabilities."""
    chances, happened = target.predicted[:, 1], target.true == 1
    name = target.classes[1]
    yield _confusion_chart(target)
    found = measures.thresholds(happened, chances)
    if found is None:
        undefined = "Undefined: one of the two classes has no row."
        yield Chart("ROC curve", "", undefined)
        yield Chart("Precision and recall", "", undefined)
    else:
        yield _roc_chart([(name, found)], f"AUC {found.auc:.4g} for class {name}; 0.5 is chance.")
        points = list(zip(found.recalls[1:].tolist(), found.precisions.tolist(), strict=True))
        share = found.positives / (found.positives + found.negatives)
        base = Mark([(0.0, share), (1.0, share)], f"all rows: {share:.3g}", is_reference=True)
        chart = line_chart(_unit("recall"), _unit("precision"), [base, Mark(_fewer(points), name, is_best=True)])
        note = f"Average precision {found.average_precision:.4g}; {share:.4g} is chance, the share of class {name}."
        yield Chart("Precision and recall", chart, note)
    yield _calibration_chart(happened, chances, f"probability of {name}", f"share of {name}")
    chart = _histogram(f"probability of {name}", chances, low=0.0, high=1.0)
    yield Chart("Predicted probabilities", chart, f"{int(happened.sum()):,} of {len(happened):,} rows are {name}.")


def _many_class_charts(target: TargetRows) -> Iterator[Chart]:
    """Yields confusion, ROC curves of each class against the rest, and the calibration of the likeliest class."""
    if len(target.classes) <= MAX_MATRIX:
        yield _confusion_chart(target)
    if len(target.classes) <= MAX_ONE_AGAINST_REST:
        curves = [
            (name, measures.thresholds(target.true == place, target.predicted[:, place]))
            for place, name in enumerate(target.classes)
        ]
        known = [(name, found) for name, found in curves if found is not None]
        if known:
            mean = sum(found.auc for _, found in known) / len(known)
            left_out = f"; undefined for {len(curves) - len(known)} without a row" if len(known) < len(curves) else ""
            yield _roc_chart(known, f"A curve for each class against the others. Mean AUC {mean:.4g}{left_out}.")
        else:
            yield Chart("ROC curve", "", "Undefined: all rows are of one class.")
    likeliest = target.predicted.argmax(axis=1)
    chances = target.predicted[np.arange(len(likeliest)), likeliest]
    yield _calibration_chart(likeliest == target.true, chances, "probability of the likeliest class", "share right")


def _confusion_chart(target: TargetRows) -> Chart:
    counts = measures.confusion(target.true, target.predicted.argmax(axis=1), len(target.classes))
    return Chart("Confusion matrix", matrix_chart(target.classes, counts.tolist()), "Numbers of rows.")


def _roc_chart(curves: Sequence[tuple[str, measures.Thresholds]], note: str) -> Chart:
    chance = Mark([(0.0, 0.0), (1.0, 1.0)], "chance", is_reference=True)
    marks = []
    for name, found in curves:
        points = list(zip(found.false_positive_rates.tolist(), found.recalls.tolist(), strict=True))
        marks.append(Mark(_fewer(points), f"{name}: AUC {found.auc:.4g}", is_best=len(curves) == 1))
    chart = line_chart(_unit("false positive rate"), _unit("true positive rate"), [chance, *marks])
    return Chart("ROC curve", chart, note)


def _calibration_chart(happened: np.ndarray, chances: np.ndarray, x_label: str, y_label: str) -> Chart:
    """Returns how often what is predicted happens, in bins of the predicted probability."""
    bins = measures.calibration(happened, chances)
    error = measures.calibration_error(bins)
    ideal = Mark([(0.0, 0.0), (1.0, 1.0)], "as predicted", is_reference=True)
    line = Mark([(each.predicted, each.share) for each in bins], y_label, is_best=True)
    dots = [
        _point(
            each.predicted,
            each.share,
            f"{each.low:.1f} to {each.high:.1f}: {each.count:,} rows, mean {each.predicted:.3g}, {each.share:.3g} true",
        )
        for each in bins
    ]
    rows = ", ".join(f"{each.low:.1f}–{each.high:.1f}: {each.count:,}" for each in bins)
    note = f"Expected calibration error {'undefined' if error is None else readable(error)}. Rows per bin: {rows}."
    return Chart("Calibration", line_chart(_unit(x_label), _unit(y_label), [ideal, line], dots), note)


def pairs_table(target: TargetRows) -> tuple[list[str], list[list[str]]] | None:
    """Returns the classes that are confused most often, as heads and lines; None if a matrix shows all."""
    if len(target.classes) <= MAX_MATRIX:
        return None
    counts = measures.confusion(target.true, target.predicted.argmax(axis=1), len(target.classes))
    of_class = counts.sum(axis=1)
    lines = [
        [target.classes[true], target.classes[predicted], f"{count:,}", f"{count / of_class[true]:.1%}"]
        for true, predicted, count in measures.most_confused(counts, NUM_PAIRS)
    ]
    return ["true", "predicted", "rows", "of the class"], lines


def importance_chart(found: Importance) -> str:
    """Returns the importance of the columns as bars, the greatest on top."""
    bars = []
    for name, mean, spread in found.columns[:MAX_BARS]:
        text = f"{mean:.3g} ± {spread:.2g}" if found.repeats > 1 else f"{mean:.3g}"
        bars.append((name, mean, text, f"{name}: {found.metric} is worse by {text}"))
    return value_chart("permutation importance", bars)


def _histogram(label: str, values: np.ndarray, *, low: float | None = None, high: float | None = None) -> str:
    """Returns how the finite values are distributed, in columns of the same width."""
    given = [value for value in (low, high) if value is not None]
    counts, edges = measures.histogram(values, limits=(given[0], given[1]) if given else None)
    x, y = number_axis(label, edges.tolist()), number_axis("rows", [0.0, *counts.tolist()])
    columns = list(zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True))
    return column_chart(x, y, columns)


def _unit(label: str) -> Axis:
    """Returns an axis from 0 to 1."""
    return number_axis(label, [0.0, 0.5, 1.0])


def _point(x: float, y: float, title: str) -> Mark:
    return Mark([(float(x), float(y))], title)


def _fewer(points: list[tuple[float, float]]) -> list[Point | None]:
    """Returns at most about MAX_CURVE points of a curve, evenly taken, with its ends."""
    every = -(-len(points) // MAX_CURVE) or 1
    return [*points[::every], points[-1]]


def _thinned(sizes: np.ndarray) -> np.ndarray:
    """Returns the places of at most MAX_POINTS rows: a tenth those with the largest errors, others at random."""
    if len(sizes) <= MAX_POINTS:
        return np.arange(len(sizes))
    worst = np.argsort(-sizes, kind="stable")[: MAX_POINTS // 10]
    others = np.setdiff1d(np.arange(len(sizes)), worst)
    chosen = np.random.default_rng(SEED).choice(others, MAX_POINTS - len(worst), replace=False)
    return np.concatenate([chosen, worst])
