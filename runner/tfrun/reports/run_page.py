"""The page of `tfrun report`: one run, what its errors look like, and how it was trained, in one small HTML file."""

from __future__ import annotations

import base64
import html
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from tfrun.console import shown_number
from tfrun.files.strict_json import defined
from tfrun.reports import measures
from tfrun.reports.charts import Chart
from tfrun.reports.evaluated_rows import EvaluatedRows, Picture, TargetRows
from tfrun.reports.html_parts import document, note, row, table_of
from tfrun.reports.run_charts import (
    MAX_BARS,
    curve_charts,
    forecast_charts,
    importance_chart,
    pairs_table,
    target_charts,
)
from tfrun.reports.slices import MIN_ROWS, worst_slices
from tfrun.reports.texts import as_text, readable, shortened

MAX_TARGETS = 4  # that have a section
MAX_COLUMNS = 30  # of a table of rows
MAX_LETTERS = 40  # of a cell
MAX_CLASSES = 40  # lines of a table
MAX_CONFIG = 100_000  # letters
NUM_SLICES = 12


@dataclass(frozen=True)
class RunPage:
    """What the page shows.

    Attributes:
        title: the run's name and id.
        run: its `run.json`.
        model, data: the names of the model and of the data set.
        curves: the lines of its `metrics.jsonl`.
        evaluated: the test rows with their predictions, or None.
        missing: why there are none.
        columns: kind → the names of its columns.
        changes: (key, default, value) of each key that differs from the defaults; None if these aren't known.
        config: `config.yaml`.
    """

    title: str
    run: Mapping[str, Any]
    model: str
    data: str
    curves: Sequence[Mapping[str, Any]] = ()
    evaluated: EvaluatedRows | None = None
    missing: str = ""
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    changes: Sequence[tuple[str, Any, Any]] | None = ()
    config: str = ""


def page(run: RunPage) -> str:
    """Returns the page: what the run is, its metrics, its errors, and then how it came about."""
    parts = [f"<h1>{html.escape(run.title)}</h1>", note(_described(run)), _headline(run)]
    evaluated = run.evaluated
    if evaluated is not None:
        parts += [_warning(text) for text in evaluated.notes]
        for number, target in enumerate(evaluated.targets[:MAX_TARGETS]):
            parts += _target_section(evaluated, target, is_first=number == 0)
        for forecast in evaluated.forecasts[:MAX_TARGETS]:
            charts = forecast_charts(forecast, shows_rows=evaluated.shows_rows)
            parts.append(f"<h2>Forecasts of {html.escape(forecast.name)}</h2>{_figures(charts)}")
        if left_out := evaluated.targets[MAX_TARGETS:]:
            names = ", ".join(target.name for target in left_out)
            parts.append(note(f"Other targets, left out: {shortened(names, 400)}"))
        parts.append(_importance(evaluated))
    parts += [_curves(run), _data(run), _changes(run), _config(run)]
    return document(f"tfrun report: {run.title}", "".join(parts))


def _described(run: RunPage) -> str:
    """Returns the model, the data, the status and the time on one line."""
    status = str(run.run.get("status", "not begun"))
    error = run.run.get("error")
    epoch, step = run.run.get("epoch"), run.run.get("step", 0)
    words = [
        f"model {run.model}",
        f"data {run.run.get('data', {}).get('source') or run.data}",
        f"{status}{f' at epoch {epoch:,}, step {step:,}' if epoch is not None else ''}",
        _times(run.run),
    ]
    text = "; ".join(word for word in words if word)
    return f"{text}. {_one_line(error)}" if error else f"{text}."


def _one_line(error: Any) -> str:
    text = error.get("message", "") if isinstance(error, dict) else str(error)
    return shortened(" ".join(str(text).split()), 400)


def _times(run: Mapping[str, Any]) -> str:
    """Returns when a run began, and how long it took."""
    try:
        began = datetime.fromisoformat(str(run["started"]))
    except (KeyError, ValueError):
        return ""
    text = f"began {began:%Y-%m-%d %H:%M}"
    try:
        seconds = (datetime.fromisoformat(str(run["ended"])) - began).total_seconds()
    except (KeyError, ValueError, TypeError):
        return text
    return f"{text}, took {f'{seconds:.0f} s' if seconds < 100 else f'{seconds / 60:.0f} min'}"


def _headline(run: RunPage) -> str:
    """Returns the metrics of the test rows, or why there are none and the best known ones."""
    evaluated = run.evaluated
    if evaluated is None:
        values = _values(_recorded(run.run))
        recorded = (
            f"<div class=best>{values}<p>as run.json has them; val/ is the best epoch's</p></div>" if values else ""
        )
        return _warning(f"The page has no predictions: {run.missing}") + recorded
    rows = f"{evaluated.num_rows:,} {evaluated.of}" if evaluated.num_rows != 1 else f"1 {evaluated.of[:-1]}"
    text = f"on {rows} of {evaluated.source}; best weights up to step {evaluated.step:,}"
    if evaluated.split == "val":
        text += ". The run has no test rows, so these are the rows that its best weights were chosen by"
    return f"<div class=best>{_values(evaluated.metrics)}<p>{html.escape(text)}</p></div>"


def _recorded(run: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the test metrics that a run has recorded, and the validation metrics of its best epoch."""
    test = {key: value for key, value in (run.get("metrics") or {}).items() if key.startswith("test/")}
    return test | {key: value for key, value in (run.get("best") or {}).items() if key.startswith("val/")}


def _values(metrics: Mapping[str, Any]) -> str:
    """Returns metrics, the main ones first and large; one that isn't defined is said to be undefined."""
    names = sorted(metrics, key=lambda name: name.endswith("loss"))
    texts = []
    for name in names:
        value = defined(metrics[name])
        texts.append(f"<b>{'undefined' if value is None else shown_number(value)}</b> {html.escape(name)}")
    return f"<p>{' &nbsp; '.join(texts)}</p>" if texts else ""


def _warning(text: str) -> str:
    return f"<p class=warning>{html.escape(text)}</p>"


def _figures(charts: Iterator[Chart]) -> str:
    sections = (f"<section><h3>{html.escape(c.head)}</h3>{c.svg}{note(c.note)}</section>" for c in charts)
    return f"<div class=charts>{''.join(sections)}</div>"


def _target_section(evaluated: EvaluatedRows, target: TargetRows, *, is_first: bool) -> Iterator[str]:
    """Yields the parts of the page on one target."""
    charts = target_charts(target, shows_rows=evaluated.shows_rows)
    head = "Errors" if len(evaluated.targets) == 1 else f"Target {target.name}"
    yield f"<h2>{html.escape(head)}</h2>{note(_summary(target))}{_figures(charts)}"
    pairs = pairs_table(target)
    if pairs is not None:
        heads, lines = pairs
        yield "<h3 class=part>Most confused classes</h3>"
        yield table_of(heads, [row(line, "td") for line in lines]) if lines else note("No row has a wrong class.")
    if len(target.classes) > 2:
        yield _classes(target)
    if is_first and evaluated.worst_images:
        yield _images("Images of the worst rows", evaluated.worst_images, target)
        yield _images("Images of rows at random", evaluated.random_images, target)
    if evaluated.shows_rows:
        yield _worst(evaluated, target)
    yield _slices(evaluated, target)


def _summary(target: TargetRows) -> str:
    """Returns how good the predictions are in a sentence, compared with the simplest ones."""
    if target.is_number:
        found = measures.residuals(target.true, target.predicted)
        if found is None:
            return f"Target {target.name}: no prediction is finite."
        r2 = "undefined, since all true values are the same" if found.r2 is None else readable(found.r2)
        left_out = len(target.true) - found.count
        more = f" Left out: {left_out:,} whose prediction isn't finite." if left_out else ""
        return (
            f"Target {target.name}: mean absolute error {readable(found.mae)}, root mean squared error "
            f"{readable(found.rmse)}, R² {r2}. Always predicting the mean would have an R² of 0.{more}"
        )
    wrong, counts = int(target.sizes.sum()), np.bincount(target.true, minlength=len(target.classes))
    most = int(counts.argmax())
    return (
        f"Target {target.name}, {len(target.classes)} classes: {wrong:,} of {len(target.true):,} rows are wrong, "
        f"{wrong / len(target.true):.1%}. Always predicting {target.classes[most]}, the most frequent class here, "
        f"would be wrong for {1 - counts[most] / len(target.true):.1%}."
    )


def _classes(target: TargetRows) -> str:
    """Returns a table of precision and recall of each class, those with the lowest F1 first."""
    counts = measures.confusion(target.true, target.predicted.argmax(axis=1), len(target.classes))
    entries = list(zip(target.classes, measures.class_measures(counts), strict=True))
    entries.sort(key=lambda entry: (entry[1].f1 is None, entry[1].f1))
    lines = [
        row([name, f"{m.count:,}", *(_or_undefined(value) for value in (m.precision, m.recall, m.f1))], "td")
        for name, m in entries[:MAX_CLASSES]
    ]
    more = note(f"{len(entries) - MAX_CLASSES:,} more.") if len(entries) > MAX_CLASSES else ""
    table = table_of(["class", "rows", "precision", "recall", "F1"], lines)
    return f"<h3 class=part>Classes, the worst first</h3>{table}{more}"


def _or_undefined(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _images(head: str, pictures: Sequence[Picture], target: TargetRows) -> str:
    """Returns images with their true and predicted values."""
    figures = []
    for picture in pictures:
        true, predicted = _true_and_predicted(target, picture.row)
        is_wrong = not target.is_number and true != predicted
        data = base64.b64encode(picture.png).decode()
        words = f"{true} → {predicted}" if is_wrong or target.is_number else true
        caption = f"<figcaption{' class=wrong' if is_wrong else ''}>{html.escape(shortened(words, MAX_LETTERS))}"
        figures.append(f'<figure><img alt="" src="data:image/png;base64,{data}">{caption}</figcaption></figure>')
    if not figures:
        return ""
    text = note("true → predicted" if target.is_number else "The label; if it is wrong, true → predicted.")
    return f"<h3 class=part>{html.escape(head)}</h3>{text}<div class=images>{''.join(figures)}</div>"


def _true_and_predicted(target: TargetRows, place: int) -> tuple[str, str]:
    if target.is_number:
        return readable(target.true[place], 6), readable(float(target.predicted[place]), 6)
    return target.classes[target.true[place]], target.classes[target.predicted[place].argmax()]


def _worst(evaluated: EvaluatedRows, target: TargetRows) -> str:
    """Returns a table of the rows with the largest errors, with their raw cells."""
    names = list(evaluated.columns)[:MAX_COLUMNS]
    what = "error" if target.is_number else "loss"
    lines, errors = [], target.errors
    for place in target.worst().tolist():
        cells = [evaluated.places[place], *_true_and_predicted(target, place), readable(errors[place])]
        lines.append(row([*cells, *(_cell(evaluated.columns[name][place]) for name in names)], "td"))
    unit = "predicted − true" if target.is_number else "−ln of the probability of the true class"
    left_out = len(evaluated.columns) - len(names)
    more = f" {left_out:,} more columns are left out." if left_out else ""
    text = note(f"The {len(lines)} rows with the largest {what}, {unit}.{more}")
    return f"<h3 class=part>Worst rows</h3>{text}{table_of(['row', 'true', 'predicted', what, *names], lines)}"


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        number = float(value)
        is_whole = number.is_integer() and abs(number) < 1e15  # an id or a year has all digits, and no commas
        text = "" if np.isnan(number) else f"{number:.0f}" if is_whole else f"{number:.8g}"
    else:
        text = str(value)
    return shortened(" ".join(text.split()), MAX_LETTERS)


def _slices(evaluated: EvaluatedRows, target: TargetRows) -> str:
    """Returns a table of the slices on which the run is worst."""
    if not evaluated.columns:
        return ""
    sizes = target.sizes
    slices = worst_slices(evaluated.columns, sizes, most=NUM_SLICES)
    measure = "mean absolute error" if target.is_number else "share of wrong rows"
    finite = sizes[np.isfinite(sizes)]
    head = "<h3 class=part>Error by slices of a column</h3>"
    if not slices:
        return head + note(
            f"No slice of at least {MIN_ROWS} rows has a {measure} that is a standard error above that of all rows."
        )
    show = readable if target.is_number else "{:.1%}".format
    lines = [
        row(
            [
                each.column,
                shortened(each.value, MAX_LETTERS),
                f"{each.count:,}",
                show(each.error),
                f"{each.excess:.1f}",
            ],
            "td",
        )
        for each in slices
    ]
    text = (
        f"The {measure} of all {len(finite):,} rows is {show(float(finite.mean()))}. Slices are a column's most "
        f"frequent values, or quarters of its numbers, of at least {MIN_ROWS} rows. Those are listed whose error is a "
        "standard error or more above that of all rows, the most standard errors first; up to about 2 it may be chance."
    )
    return head + note(text) + table_of(["column", "value", "rows", measure, "standard errors"], lines)


def _importance(evaluated: EvaluatedRows) -> str:
    """Returns the permutation importance of the columns, or why there is none."""
    if not evaluated.targets:
        return ""
    head, found = "<h2>Permutation importance</h2>", evaluated.importance
    if isinstance(found, str):
        return head + note(found) if found else ""
    times = f"{found.repeats} times" if found.repeats > 1 else "once"
    text = (
        f"How much worse {found.metric} becomes, from {readable(found.value)}, if the cells of one "
        f"column are permuted among {found.num_rows:,} {evaluated.of}, {times}: mean ± standard deviation. Near 0, or "
        "below it, the model makes no use of the column; of columns that say the same, it may use either."
    )
    left_out = found.columns[MAX_BARS:]
    names = ", ".join(f"{name} {mean:.2g}" for name, mean, _ in left_out)
    more = note(f"Less: {shortened(names, 2000)}") if left_out else ""
    return f"{head}{note(text)}{importance_chart(found)}{more}"


def _curves(run: RunPage) -> str:
    if not any(key.startswith(("train/", "val/")) for line in run.curves for key in line):
        return "<h2>Curves</h2>" + note("The run has no epoch yet.")
    best = run.run.get("best") or {}
    epoch, monitor = best.get("epoch"), best.get("monitor")
    text = "Training is blue, validation orange."
    if epoch is not None:
        text += f" The dot is the best epoch, {epoch:,}, with {monitor} {shown_number(best.get(monitor))}."
    return f"<h2>Curves</h2>{note(text)}{_figures(curve_charts(run.curves, epoch))}"


def _data(run: RunPage) -> str:
    """Returns where the rows come from, how they were split, and which columns there are."""
    data = run.run.get("data") or {}
    lines = [("source", str(data.get("source") or run.data))]
    if "rows" in data:
        splits = ", ".join(f"{data[split]:,} {split}" for split in ("train", "val", "test") if split in data)
        lines.append(("rows", f"{data['rows']:,}: {splits}"))
    if data.get("rows_left_out"):
        lines.append(("left out", f"{data['rows_left_out']:,} rows without a target"))
    if data.get("split"):
        lines.append(("split", ", ".join(f"{key} {as_text(value)}" for key, value in data["split"].items())))
    if data.get("windows"):
        lines.append(("windows", ", ".join(f"{key} {as_text(value)}" for key, value in data["windows"].items())))
    lines += [(kind, shortened(", ".join(names), 1000)) for kind, names in run.columns.items()]
    if run.evaluated is not None and run.evaluated.empty:
        cells = (f"{name} {count:,}" for name, count in run.evaluated.empty.items())
        lines.append(("empty cells", shortened(", ".join(cells), 1000)))
    items = "".join(f"<dt>{html.escape(key)}<dd>{html.escape(text)}" for key, text in lines)
    return f"<h2>Data</h2><dl>{items}</dl>"


def _changes(run: RunPage) -> str:
    """Returns the command line, and the keys that differ from the defaults."""
    words = shlex.join(["tfrun", *map(str, run.run.get("overrides") or [])])
    head = f"<h2>Config</h2><pre class=words>{html.escape(words)}</pre>"
    if run.changes is None:
        return head + note("The defaults can't be composed, for example because a plugin is missing.")
    if not run.changes:
        return head + note("No key differs from its default.")
    lines = [row([key, _default(default), shortened(as_text(value), 60)], "td") for key, default, value in run.changes]
    return head + note("The keys that differ from the defaults:") + table_of(["key", "default", "value"], lines)


def _default(value: Any) -> str:
    return "none, required" if value == "???" else shortened(as_text(value), 60)


def _config(run: RunPage) -> str:
    text = shortened(run.config, MAX_CONFIG)
    return f"<details><summary>The whole config</summary><pre>{html.escape(text)}</pre></details>"
