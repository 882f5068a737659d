"""Breaks the lines of texts for people between words, so that they can be read in a narrow window."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap

READING_WIDTH = 120  # columns


def reading_width() -> int:
    """Returns the columns that a text for people may have: those of the terminal, at most `READING_WIDTH`."""
    return min(shutil.get_terminal_size().columns if sys.stdout.isatty() else READING_WIDTH, READING_WIDTH)


def fitted(text: str, width: int) -> str:
    """Returns a text whose lines are broken between words, where they are longer than `width` columns.

    A broken line continues below its last column (`  name    text`) if half the width is left for it, or else a
    little further in than it begins. Words, and with them paths, are never broken.
    """
    return "\n".join(part for line in text.split("\n") for part in _broken(line, width))


def _broken(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    indent = len(line) - len(line.lstrip())
    column = re.match(r" *\S+(?: \S+)* {2,}(?=\S)", line)
    below = len(column[0]) if column and len(column[0]) <= width // 2 else indent + 4 * bool(column)
    return textwrap.wrap(line, width, subsequent_indent=" " * below, break_long_words=False, break_on_hyphens=False)
