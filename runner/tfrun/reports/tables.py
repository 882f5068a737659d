"""The tables of a comparison: as texts, CSV, Markdown, and printed on the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import pairwise

from rich.table import Table

from tfrun.config.split_checks import FOLD_KEY
from tfrun.console import UNDEFINED, Results, Terminal, say, short_names, shown_number
from tfrun.folders import shown
from tfrun.narrow_tables import print_table
from tfrun.reports.comparison import NOT_COMPARED, Comparison
from tfrun.reports.importance import importances
from tfrun.reports.repeats import has_folds, repeats, repeats_table, repeats_title
from tfrun.reports.texts import TextTable, as_text

FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r")
UNLIMITED_WIDTH = 10**4  # columns, to measure a table that is wider than the terminal


def runs_table(comparison: Comparison) -> TextTable:
    """Returns a line for each run: the keys that differ, the metric, and what the run took."""
    metric, rows = comparison.metric, comparison.rows
    test_metrics = [key for key in rows[0].run["metrics"] if key.startswith("test/")]
    other_take = "last" if comparison.take == "best" else "best"
    metric_heads = [f"{metric} {comparison.take}", "status", f"{metric} {other_take}"]
    heads = ["run", *comparison.keys, *metric_heads, *test_metrics, "epoch", "steps/s"]
    has_one_parent = len({row.folder.path.parent for row in rows}) == 1
    lines = []
    for row in rows:
        line = [row.folder.path.name if has_one_parent else row.folder.run_id]
        line += [as_text(row.config.get(key)) for key in comparison.keys]
        line += [shown_number(comparison.value(row)), row.run["status"], shown_number(row.value(metric, other_take))]
        line += [shown_number(row.run["metrics"].get(key)) for key in test_metrics]
        line += [str(row.run["best"].get("epoch", row.run["epoch"]))]
        line += [shown_number(row.run["timing"].get("steps_per_second"))]
        lines.append(line)
    return TextTable(heads, lines)


def print_comparison(comparison: Comparison) -> None:
    """Prints the tables, the importances and the best run's folder."""
    console = Results()
    tables = [("", runs_table(comparison)), (repeats_title(comparison), repeats_table(comparison))]
    for title, table in tables:
        if table is not None:
            print_table(console, _fitting(console, comparison.keys, title=title, table=table))
    for key, share in importances(comparison).items():
        say(console, f"importance {share:4.0%}  {key}")
    _print_best(comparison)


def _fitting(console: Terminal, keys: Sequence[str], *, title: str, table: TextTable) -> Table:
    """Returns as many columns as the terminal is wide for; the most important ones stand first, and --csv has all."""
    shown_keys = [key for key in keys if key in table.heads]
    short = dict(zip(shown_keys, short_names(shown_keys), strict=True))
    heads = [short.get(head, head) for head in table.heads]
    unlimited = console.options.update(max_width=UNLIMITED_WIDTH)
    least = 2 + len(shown_keys)  # the run, the keys that differ, and the metric
    for count in range(len(heads), least, -1):
        columns = _columns(title, heads, lines=table.lines, count=count)
        if console.measure(columns, options=unlimited).maximum <= console.width:
            return columns
    return _columns(title, heads, lines=table.lines, count=min(least, len(heads)))


def _columns(title: str, heads: Sequence[str], *, lines: Sequence[Sequence[str]], count: int) -> Table:
    """Returns the first `count` columns."""
    table = Table(title=title or None, title_justify="left")
    for head in heads[:count]:
        table.add_column(head, overflow="fold", justify="left" if head in ("run", "status") else "right")
    for line in lines:
        table.add_row(*line[:count])
    return table


def print_differences(comparison: Comparison) -> None:
    """Prints two runs side by side: every key of their configs that differs, and all metrics."""
    table, rows = Table(), comparison.rows
    table.add_column("", overflow="fold")
    for row in rows:
        table.add_column(row.folder.run_id, overflow="fold")
    for key in dict.fromkeys(key for row in rows for key in row.config):
        texts = [as_text(row.config[key]) if key in row.config else "–" for row in rows]
        if not key.startswith(NOT_COMPARED) and texts[0] != texts[1]:
            table.add_row(key, *texts)
    table.add_section()
    for take in ("best", "last"):
        for key in dict.fromkeys(key for row in rows for key in row.run["metrics"] if "/" in key):
            if take == "last" or not key.startswith("test/"):
                table.add_row(f"{key} {take}", *(shown_number(row.value(key, take)) for row in rows))
    print_table(Terminal(), table)
    _print_best(comparison)


def _print_best(comparison: Comparison) -> None:
    best = comparison.rows[0]
    if comparison.value(best) is None:
        return
    if comparison.is_comparable and has_folds(comparison):
        _print_best_over_folds(comparison)
    elif comparison.is_comparable:
        say(Terminal(), f"best       {shown(best.folder.path)}")
    else:
        say(Terminal(), f"no best: {comparison.metric} of different losses can't be compared. metric=val/<metric> can")


def _print_best_over_folds(comparison: Comparison) -> None:
    """Prints the folds with the best mean, if it is one over all of them; of several seeds, as the sweep does, one."""
    best = repeats(comparison, over_seeds=False)[0]
    if not best.is_complete:
        say(Terminal(), "no best: no cross-validation has a value in all of its folds")
        return
    rows = sorted(best.rows, key=lambda row: row.config.get(FOLD_KEY) or 0)
    names = [shown(rows[0].folder.path)]
    for before, row in pairwise(rows):
        path = row.folder.path
        names.append(path.name if path.parent == before.folder.path.parent else shown(path))
    say(Terminal(), f"best       {comparison.metric} {best.mean:.6g} in the mean of {', '.join(names)}")


def as_csv(table: TextTable) -> str:
    """Returns a table as CSV, with its heads; a value that isn't defined is an empty cell."""
    text = io.StringIO()
    rows = [["" if cell == UNDEFINED else _harmless(cell) for cell in row] for row in (table.heads, *table.lines)]
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().rstrip("\n")


def _harmless(cell: str) -> str:
    """Returns a cell that no spreadsheet runs as a formula: one that may be one, and is no number, begins with `'`."""
    return f"'{cell}" if cell.startswith(FORMULA_BEGINNINGS) and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell == cell.strip()


def as_markdown(table: TextTable) -> str:
    """Returns a table as Markdown."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(table.heads), line("---" for _ in table.heads), *map(line, table.lines)])
