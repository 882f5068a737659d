"""Tables on narrow terminals: texts wrap between words, numbers never, and what is too wide becomes lines."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

SHORTEST_HEAD = 8  # columns: a longer head may be broken into pieces of this width
BORDER = 3  # columns that a cell's padding and its border take


def print_table(console: Console, table: Table) -> None:
    """Prints a table as wide as the console, or its rows one below the other if no word would stay whole."""
    room = console.width - BORDER * len(table.columns) - 1
    widths = _widths(table, room)
    if widths is None:
        _print_rows(console, table)
        return
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
        column.overflow = "fold"
    console.print(table)


def least_width(head: str, cells: Iterable[str]) -> int:
    """Returns the columns that a table's column takes, with its cells on one line and a head of whole words."""
    words = [_width(word) for word in head.split()]
    return max([*words, *map(_width, set(cells))], default=0) + BORDER


def _widths(table: Table, room: int) -> list[int] | None:
    """Returns the width of each column, None if they need more than `room` with every word on a line.

    Heads may be broken if nothing else helps. What is left over goes to the heads, then to cells that wrap, then to the
    first columns.
    """
    needs = [_needs(column) for column in table.columns]
    widths, *wishes = ([need[index] for need in needs] for index in range(4))
    left = room - sum(widths)
    if left < 0:
        return None
    for wanted in wishes:
        for index, width in enumerate(wanted):
            more = min(width - widths[index], left)
            widths[index] += more
            left -= more
    return widths


def _needs(column: Column) -> tuple[int, int, int, int]:
    """Returns a column's width with a broken head, a head of whole words, its cells on one line, and its head too."""
    head, cells = str(column.header), list(map(str, column.cells))
    words = [_width(word) for cell in cells for word in cell.split()]
    head_words = [_width(word) for word in head.split()]
    broken = max([*words, *(min(width, SHORTEST_HEAD) for width in head_words)], default=0)
    whole = max([*words, *head_words], default=0)
    one_line = max([whole, *map(_width, cells)])
    return broken, whole, one_line, max(one_line, _width(head))


def _width(text: str) -> int:
    return Text(text).cell_len


def _print_rows(console: Console, table: Table) -> None:
    """Prints each row as lines: its first cell, and below it the other cells beside their heads."""
    first, *others = table.columns
    longest = max((_width(str(column.header)) for column in others), default=0)
    if table.title:
        console.print(table.title, soft_wrap=True, highlight=False)
    for index in range(table.row_count):
        row = f"{first.header} {list(first.cells)[index]}".strip()
        console.print(row, soft_wrap=True, highlight=False, style="bold")
        for column in others:
            if cell := str(list(column.cells)[index]):
                head = str(column.header)
                padding = " " * (longest - _width(head))
                console.print(f"  {head}{padding}  {cell}", soft_wrap=True, highlight=False)
