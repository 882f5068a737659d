"""`tfrun compare --html`: one small file that shows many runs, loads nothing from the network and has no script."""

from __future__ import annotations

import html
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from tfrun.console import Terminal, say, shown_number
from tfrun.errors import ConfigError, some
from tfrun.files.disk import write_atomically
from tfrun.folders import shown
from tfrun.reports.best import best_line, has_best
from tfrun.reports.charts import charts, explain_points
from tfrun.reports.comparison import Comparison
from tfrun.reports.html_parts import document, note, row, table_of
from tfrun.reports.repeats import has_folds, repeats_table, repeats_title
from tfrun.reports.tables import first_lines, runs_table
from tfrun.reports.texts import TextTable, as_text

MAX_BYTES = 350_000  # of the table of runs
MAX_REPEATS_BYTES = 100_000  # of the table of their repetitions
MAX_FOLDERS = 3  # that the title names


def write(comparison: Comparison, path: Path, *, top: int | None = None) -> None:
    """Writes the page; `top` is how many lines of a table it has, None for as many as fit.

    Raises:
        ConfigError: the file isn't an .html file.
        ResourceError: the disk refuses.
    """
    if path.suffix != ".html":
        raise ConfigError(f"--html: must be an .html file. Received: {str(path)!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page(comparison, top=top))
    say(Terminal(), shown(path))


def page(comparison: Comparison, *, top: int | None = None) -> str:
    """Returns the page: what it is, the best run, the charts, and then the tables."""
    title = _title(comparison)
    parts = [f"<h1>{html.escape(title)}</h1>", note(_described(comparison)), _best(comparison)]
    parts.append(f"<h2>Charts</h2><div class=charts>{''.join(_figures(comparison))}</div>")
    parts.append(note(explain_points(comparison)))
    runs = first_lines(runs_table(comparison), top)
    bold = has_best(comparison) and not has_folds(comparison)
    parts.append(_table("Runs", runs, num_lines=len(comparison.rows), max_bytes=MAX_BYTES, bold=bold))
    repeated = repeats_table(comparison)
    if repeated is not None:
        head, lines = repeats_title(comparison).capitalize(), first_lines(repeated, top)
        parts.append(_table(head, lines, num_lines=len(repeated.lines), max_bytes=MAX_REPEATS_BYTES, bold=False))
    return document(f"tfrun compare: {title}", "".join(parts))


def _title(comparison: Comparison) -> str:
    """Returns what the page is about: `1,000 runs of 2026-11-29_22-35-35_ebff5b by val/loss`."""
    folders = list(dict.fromkeys(row.folder.path.parent.name for row in comparison.rows))
    runs = f"{len(comparison.rows):,} run{'s' if len(comparison.rows) > 1 else ''}"
    return f"{runs} of {some(folders, MAX_FOLDERS)} by {comparison.metric}"


def _described(comparison: Comparison) -> str:
    """Returns how many runs have which status, and what orders them."""
    statuses = [row.run["status"] for row in comparison.rows]
    counts = ", ".join(f"{statuses.count(status):,} {status}" for status in dict.fromkeys(statuses))
    better = "smaller" if comparison.mode == "min" else "greater"
    return f"{counts}. A {better} {comparison.metric} is better; it is that of each run's {comparison.take} epoch."


def _best(comparison: Comparison) -> str:
    """Returns the best run with its value and its settings, or why there is none."""
    line = best_line(comparison)
    if not line:
        return note("No run has a value yet.")
    if not has_best(comparison) or has_folds(comparison):
        return f"<div class=best>{html.escape(' '.join(line.split()))}</div>"
    row = comparison.rows[0]
    settings = (f"{key}={as_text(row.config.get(key))}" for key in comparison.keys if row.config.get(key) is not None)
    lines = [
        f"<b>{html.escape(shown_number(comparison.value(row)))}</b> {html.escape(comparison.metric)}, the best",
        html.escape(shown(row.folder.path)),
        html.escape(" ".join(settings)),
    ]
    return f"<div class=best>{''.join(f'<p>{line}</p>' for line in lines if line)}</div>"


def _figures(comparison: Comparison) -> Iterator[str]:
    """Yields the charts, each with its head and what there is to say about it."""
    for chart in charts(comparison):
        yield f"<section><h3>{html.escape(chart.head)}</h3>{chart.svg}{note(chart.note)}</section>"


def _table(head: str, table: TextTable, *, num_lines: int, max_bytes: int, bold: bool) -> str:
    """Returns a table of at most about the given bytes, and a note if that isn't all.

    Args:
        head: what it shows.
        table: its heads and its first lines.
        num_lines: how many lines there are in all.
        max_bytes: the bytes of its lines.
        bold: whether the first line is the best one.
    """
    lines = [row(line, "td") for line in table.lines]
    sizes = accumulate(len(line.encode()) for line in lines)
    lines = lines[: sum(size <= max_bytes for size in sizes)]
    more = num_lines - len(lines)
    more_lines = note(f"{more:,} more. All are in the output of tfrun compare --csv.") if more else ""
    return f"<h2>{html.escape(head)}</h2>{table_of(table.heads, lines, has_best=bold)}{more_lines}"
