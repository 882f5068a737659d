"""The charts of a comparison: curves of the best runs, the metric over each key, and the keys' importance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tfrun.console import Terminal, say, shown_number
from tfrun.errors import CheckpointError, some
from tfrun.files.strict_json import defined
from tfrun.reports.best import has_best
from tfrun.reports.comparison import Comparison, Row
from tfrun.reports.fitting import by_interest, names_of
from tfrun.reports.importance import explain_missing, importances, is_logarithmic, is_numeric
from tfrun.reports.repeats import has_folds
from tfrun.reports.svg import Axis, Mark, Point, bar_chart, line_chart, number_axis, point_chart, text_axis
from tfrun.reports.texts import as_text, shortened

MAX_CURVES = 20  # the eye can't distinguish more
MAX_EPOCHS = 200  # points of a curve; of a longer one, every second or every third, …
MAX_POINTS = 400  # of a chart
MAX_LETTERS = 60  # of a tooltip
MAX_KEYS = 9  # that have a chart of their own
MAX_TEXTS = 12  # values of a key that isn't a number
MAX_BARS = 7  # as high as the other charts


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        head: what it shows.
        svg: the SVG element, empty if there is nothing to draw.
        note: what else there is to say, empty for nothing.
    """

    head: str
    svg: str
    note: str = ""


def charts(comparison: Comparison) -> Iterator[Chart]:
    """Yields the charts, the most interesting first."""
    shares = importances(comparison)
    if len(comparison.keys) > 1 or shares:
        yield _importance(comparison, shares)
    yield _curves(comparison)
    keys = [key for key in by_interest(comparison, shares) if _is_drawn(comparison, key)]
    if len(comparison.done) > 1:
        for key, name in zip(keys[:MAX_KEYS], names_of(keys[:MAX_KEYS]), strict=True):
            yield _metric_over(comparison, key, name=name)
    if left_out := keys[MAX_KEYS:]:
        yield Chart("Other keys", "", f"{some(left_out)}: the table has them.")


def _importance(comparison: Comparison, shares: dict[str, float]) -> Chart:
    """Returns the importances as bars, the greatest on top."""
    if not shares:
        return Chart("What matters", "", f"No importance of the keys: {explain_missing(comparison)}.")
    greatest = list(shares.items())[:MAX_BARS]
    note = "Each key's share in what distinguishes the best runs (PED-ANOVA)."
    return Chart("What matters", bar_chart("importance of the keys", greatest), note)


def _curves(comparison: Comparison) -> Chart:
    """Returns the metric over the epochs of the best runs, the best one on top."""
    head = f"{comparison.metric} over epochs"
    rows = comparison.rows[:MAX_CURVES]
    points = [_curve(row, comparison.metric) for row in rows]
    defined_points = [point for curve in points for point in curve if point is not None]
    if not defined_points:
        return Chart(head, "", "No run has curves.")
    lines = [
        Mark(curve, f"{row.folder.run_id} {shown_number(comparison.value(row))}", is_best=_is_best(comparison, row))
        for row, curve in zip(rows, points, strict=True)
    ]
    x = number_axis("epoch", [epoch for epoch, _ in defined_points])
    y = _metric_axis(comparison, [value for _, value in defined_points])
    note = f"The best {len(rows)} of {len(comparison.rows):,} runs." if len(rows) < len(comparison.rows) else ""
    return Chart(head, line_chart(x, y, lines[::-1]), note)


def _curve(row: Row, metric: str) -> list[Point | None]:
    """Returns (epoch, value) of each epoch in which a run has the metric; None, a gap, if it isn't defined."""
    try:
        lines = row.folder.read_metrics()
    except OSError:
        return []
    except CheckpointError as error:
        say(Terminal(stderr=True), f"warning: no curve: {error}")
        return []
    entries = [(line["epoch"], defined(line[metric])) for line in lines if metric in line]
    every = -(-len(entries) // MAX_EPOCHS) or 1
    kept = entries[::every] + entries[-1:]
    return [None if value is None else (float(epoch), value) for epoch, value in dict(kept).items()]


def _metric_over(comparison: Comparison, key: str, *, name: str) -> Chart:
    """Returns a point for each completed run: its value of a key, and of the metric."""
    rows = [row for row in comparison.done if key in row.config]
    kept = _thinned(rows)
    x, places = _key_axis(key, [row.config[key] for row in kept])
    values = [_value(comparison, row) for row in kept]
    marks = [
        Mark(
            [(place, value)],
            shortened(f"{row.folder.run_id} {shown_number(value)} {as_text(row.config[key])}", MAX_LETTERS),
            is_best=_is_best(comparison, row),
        )
        for row, place, value in zip(kept, places, values, strict=True)
    ]
    return Chart(f"{comparison.metric} over {name}", point_chart(x, _metric_axis(comparison, values), marks[::-1]))


def explain_points(comparison: Comparison) -> str:
    """Returns which runs the charts have a point for, empty if they have one for each completed run."""
    num_rows, num_kept = len(comparison.done), len(_thinned(comparison.done))
    return f"Points: {num_kept:,} of {num_rows:,} runs, the best and some of the others." if num_kept < num_rows else ""


def _thinned(rows: Sequence[Row]) -> Sequence[Row]:
    """Returns at most MAX_POINTS runs: one half of them the best ones, the other evenly taken from the rest."""
    if len(rows) <= MAX_POINTS:
        return rows
    best, rest = rows[: MAX_POINTS // 2], rows[MAX_POINTS // 2 :]
    every = -(-len(rest) // (MAX_POINTS - len(best)))
    return [*best, *rest[::every]]


def _is_drawn(comparison: Comparison, key: str) -> bool:
    """Returns whether a key has a chart: it differs between completed runs, in numbers or in a few other values."""
    values = [row.config[key] for row in comparison.done if key in row.config]
    texts = {as_text(value) for value in values}
    return key != "name" and len(texts) > 1 and (is_numeric(values) or len(texts) <= MAX_TEXTS)


def _key_axis(key: str, values: Sequence[Any]) -> tuple[Axis, list[float]]:
    """Returns the axis of a key, and where on it each value is."""
    if is_numeric(values):
        places = [float(value) for value in values]
        return number_axis(key, places, is_logarithmic=is_logarithmic(places)), places
    texts = [as_text(value) or "null" for value in values]
    numbers = {text: value for text, value in zip(texts, values, strict=True) if is_numeric([value])}
    in_order = sorted(set(texts), key=lambda text: (text not in numbers, numbers.get(text, 0), text))
    order = {text: index for index, text in enumerate(in_order)}
    return text_axis(key, list(order)), [float(order[text]) for text in texts]


def _metric_axis(comparison: Comparison, values: Sequence[float]) -> Axis:
    return number_axis(comparison.metric, values, is_logarithmic=is_logarithmic(values))


def _value(comparison: Comparison, row: Row) -> float:
    value = comparison.value(row)
    assert value is not None, "a run without a value is no completed one"
    return value


def _is_best(comparison: Comparison, row: Row) -> bool:
    """Returns whether a run is the best one; of folds none is."""
    return row is comparison.rows[0] and has_best(comparison) and not has_folds(comparison)
