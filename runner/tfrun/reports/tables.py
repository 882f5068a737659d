"""The tables of a comparison: as texts, CSV, Markdown, and printed on the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from tfrun.console import UNDEFINED, Results, Terminal, say, say_wrapped, shown_number
from tfrun.errors import some
from tfrun.narrow_tables import print_table
from tfrun.reports import made_from
from tfrun.reports.best import best_line
from tfrun.reports.comparison import NOT_COMPARED, Comparison, Row
from tfrun.reports.fitting import RUN, by_interest, print_fitting, short_ids
from tfrun.reports.importance import explain_missing, importances
from tfrun.reports.repeats import repeats_table, repeats_title
from tfrun.reports.texts import TextTable, as_text

MAX_NAMED = 3  # keys or runs that a line names
FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r")


def runs_table(comparison: Comparison) -> TextTable:
    """Returns a line for each run: the keys that differ, the metric, and what the run took."""
    metric, rows = comparison.metric, comparison.rows
    test_metrics = [key for key in rows[0].run["metrics"] if key.startswith("test/")]
    other_take = "last" if comparison.take == "best" else "best"
    metric_heads = [f"{metric} {comparison.take}", "status", f"{metric} {other_take}"]
    heads = [RUN, *comparison.keys, *metric_heads, *test_metrics, "epoch", "steps/s"]
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


def print_comparison(comparison: Comparison, *, top: int | None = None, with_importance: bool = False) -> None:
    """Prints the tables and the best run's folder.

    Args:
        comparison: the runs.
        top: how many lines of a table are printed; None for all.
        with_importance: whether each key's importance is estimated and printed.
    """
    console = Results()
    shares = importances(comparison) if with_importance else {}
    keys = by_interest(comparison, shares)
    tables = [("", "runs", runs_table(comparison)), (repeats_title(comparison), "settings", repeats_table(comparison))]
    for title, what, table in tables:
        if table is not None:
            heads = print_fitting(console, first_lines(table, top), keys=keys, title=title)
            if more := more_lines(table, top, what=what):
                say(console, more)
            _print_left_out(console, table, keys=keys, heads=heads, top=top)
    for key, share in shares.items():
        say(console, f"importance {share:4.0%}  {key}")
    if with_importance and not shares:
        say(console, f"no importance: {explain_missing(comparison)}")
    if line := best_line(comparison):
        say(Terminal(), line)


def _print_left_out(
    console: Console, table: TextTable, *, keys: Sequence[str], heads: Sequence[str], top: int | None
) -> None:
    """Prints a line about the keys that a table has no room for, and one about runs whose status it doesn't show.

    Args:
        console: the terminal.
        table: the whole table.
        keys: the keys that differ.
        heads: the heads of the columns that were printed.
        top: how many lines were printed; None for all.
    """
    left_out = [key for key in keys if key in table.heads and key not in heads]
    if left_out:
        say(console, f"no room for {some(left_out, MAX_NAMED)}: a wider terminal, --csv and --html show all keys")
    if "status" in table.heads and "status" not in heads:
        status = table.heads.index("status")
        others = [f"{line[0]} {line[status]}" for line in table.lines[:top] if line[status] != "completed"]
        if others:
            say(console, f"not completed: {some(others, MAX_NAMED)}")


def first_lines(table: TextTable, top: int | None) -> TextTable:
    """Returns the first lines of a table; all for None."""
    return table._replace(lines=table.lines[:top])


def more_lines(table: TextTable, top: int | None, *, what: str) -> str:
    """Returns the sentence that says how many more lines a table has than are shown, empty if it has none."""
    more = len(table.lines) - len(first_lines(table, top).lines)
    return f"{more:,} more {what if more > 1 else what.removesuffix('s')}: top=all shows all" if more else ""


def print_differences(comparison: Comparison, *, top: int | None = None) -> None:
    """Prints two runs side by side: the keys of their configs that differ, and all metrics.

    Args:
        comparison: the two runs.
        top: how many keys are printed, the most interesting first, and only those that no other key explains; None for
            every key.
    """
    console, rows = Terminal(), comparison.rows
    texts = {
        key: [_text_of(row, key) for row in rows] for key in dict.fromkeys(key for row in rows for key in row.config)
    }
    differing = [key for key, (one, other) in texts.items() if one != other and not key.startswith(NOT_COMPARED)]
    keys = differing if top is None else [key for key in by_interest(comparison, {}) if key in differing][:top]
    table = Table()
    for head in ("", *short_ids([row.folder.run_id for row in rows])):
        table.add_column(head, overflow="fold")
    for key in keys:
        table.add_row(key, *texts[key])
    table.add_section()
    for cells in _metric_lines(rows):
        table.add_row(*cells)
    print_table(console, table)
    if more := len(differing) - len(keys):
        say(console, f"{more} more key{'s differ' if more > 1 else ' differs'}: top=all shows all")
    if line := best_line(comparison):
        say(console, line)
    for line in made_from.sentences(*rows):
        say_wrapped(console, line)


def _text_of(row: Row, key: str) -> str:
    return as_text(row.config[key]) if key in row.config else UNDEFINED


def _metric_lines(rows: Sequence[Row]) -> list[list[str]]:
    """Returns each metric in the best epoch, and in the last if that is another value; a test metric once."""
    lines = []
    for key in dict.fromkeys(key for row in rows for key in row.run["metrics"] if "/" in key):
        best, last = ([shown_number(row.value(key, take)) for row in rows] for take in ("best", "last"))
        is_test = key.startswith("test/")
        lines += [] if is_test else [[f"{key} best", *best]]
        lines += [[f"{key} last", *last]] if is_test or last != best else []
    return lines


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


def all_as_csv(comparison: Comparison) -> str:
    """Returns the tables as CSV, with every run and every key."""
    return "\n\n".join(as_csv(table) for table in (runs_table(comparison), repeats_table(comparison)) if table)


def all_as_markdown(comparison: Comparison, top: int | None) -> str:
    """Returns the first lines of the tables as Markdown, all for None, with a sentence if there are more."""
    parts = []
    for what, table in (("runs", runs_table(comparison)), ("settings", repeats_table(comparison))):
        if table is not None:
            parts += [as_markdown(first_lines(table, top)), more_lines(table, top, what=what)]
    return "\n\n".join(filter(None, parts))
