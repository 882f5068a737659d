"""The part of a comparison's table that a terminal is wide enough for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from tfrun.config.keys import short_names
from tfrun.narrow_tables import least_width, print_table
from tfrun.reports.comparison import Comparison
from tfrun.reports.repeats import REPEATED_KEYS
from tfrun.reports.texts import TextTable

RUN = "run"  # the head of the column of run ids
DATE = re.compile(r"^\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_(?=[0-9a-f]{6})")  # how the name of a run's folder begins


def by_interest(comparison: Comparison, shares: Mapping[str, float]) -> list[str]:
    """Returns the keys that differ, the most interesting first.

    Those with the greatest importance come first; then names of components, keys that command lines set, the others,
    and at last those that don't describe a setting: the seed, the fold and the run's name. Of two of a kind, the one
    comes first whose commonest value fewer runs have.
    """
    rows = comparison.rows
    overridden = {str(text).lstrip("+").partition("=")[0] for row in rows for text in row.run.get("overrides", [])}

    def rank(key: str) -> tuple[float, int, int]:
        counts = Counter(repr(row.config.get(key)) for row in rows)
        is_setting = key not in (*REPEATED_KEYS, "name")
        kind = 3 if not is_setting else 0 if key.endswith(".name") else 1 if key in overridden else 2
        return -shares.get(key, 0.0), kind, max(counts.values())

    return sorted(comparison.keys, key=rank)


def names_of(keys: Sequence[str]) -> list[str]:
    """Returns what keys are called in a table's heads: `model` for `model.name`, and as short as they still differ."""
    return short_names([key.removesuffix(".name") for key in keys])


def print_fitting(console: Console, table: TextTable, *, keys: Sequence[str], title: str) -> list[str]:
    """Prints as many columns as the terminal is wide for, and returns their heads.

    The columns after the metric are left out first, then the date in the run's ids gives way, and then the least
    interesting keys do.

    Args:
        console: the terminal.
        table: the table; its other columns stand in the order of their importance.
        keys: the keys that differ, the most interesting first; the table has a column for each, or for most of them.
        title: the title, empty for none.
    """
    keys = [key for key in keys if key in table.heads]
    names = dict(zip(keys, names_of(keys), strict=True))
    room = console.width - 1
    columns = None
    for lines in (table, _with_short_ids(table)):
        widths = [least_width(names.get(head, head), cells) for head, cells in _columns(lines)]
        columns = _all_keys(widths, num_keys=len(keys), room=room)
        if columns is not None:
            break
    if columns is None:
        columns = _best_keys(widths, [table.heads.index(key) for key in keys], room=room)
    print_table(console, _part(lines, columns, names=names, title=title))
    return [table.heads[column] for column in columns]


def _columns(table: TextTable) -> list[tuple[str, list[str]]]:
    """Returns each column's head and cells."""
    return [(head, [line[column] for line in table.lines]) for column, head in enumerate(table.heads)]


def _all_keys(widths: Sequence[int], *, num_keys: int, room: int) -> list[int] | None:
    """Returns as many columns as there is room for, with all keys and the metric; None if there is no room for these.

    Args:
        widths: the width of each column: the run or the keys, the keys or the number of runs, the metric, and others.
        num_keys: the number of keys.
        room: the number of columns of the terminal.
    """
    least = num_keys + 2
    counts = [count for count in range(least, len(widths) + 1) if sum(widths[:count]) <= room]
    return list(range(counts[-1])) if counts else None


def _best_keys(widths: Sequence[int], keys: Sequence[int], *, room: int) -> list[int]:
    """Returns the columns of the run and the metric, and of the keys that there is room for, the first ones first."""
    shown = [column for column in range(len(keys) + 2) if column not in keys]
    for key in keys:
        if sum(widths[column] for column in (*shown, key)) <= room:
            shown.append(key)
    return sorted(shown)


def _with_short_ids(table: TextTable) -> TextTable:
    """Returns a table with run ids without the date."""
    if table.heads[0] != RUN:
        return table
    ids = short_ids([line[0] for line in table.lines])
    return table._replace(lines=[[run_id, *line[1:]] for run_id, line in zip(ids, table.lines, strict=True)])


def short_ids(run_ids: Sequence[str]) -> list[str]:
    """Returns run ids without the date, `bce6a6/3` for example, if they still differ."""
    short = [DATE.sub("", run_id) for run_id in run_ids]
    return short if len(set(short)) == len(set(run_ids)) else list(run_ids)


def _part(table: TextTable, columns: Sequence[int], *, names: Mapping[str, str], title: str) -> Table:
    """Returns columns of a table, ready to be printed."""
    part = Table(title=title or None, title_justify="left")
    for column in columns:
        head = table.heads[column]
        part.add_column(names.get(head, head), justify="left" if head in (RUN, "status") else "right")
    for line in table.lines:
        part.add_row(*(line[column] for column in columns))
    return part
