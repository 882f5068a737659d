"""Texts and tables as Markdown that shows them as they are, whatever they hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

SPECIAL = re.compile(
    r"([\\`*{}\[\]<>#|~&$@!])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<=[A-Za-z]):(?=//)|(?<=www)\.", re.IGNORECASE
)
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories of characters that can't be seen, or move others


def escaped(text: str) -> str:
    """Returns a text on one line for a paragraph or a cell of a table: shown as it is, and never markup.

    Line breaks and other characters that can't be seen become escapes as in Python; a text that is empty, or begins or
    ends with a space, is put in quotation marks.
    """
    visible = "".join(_visible(letter) for letter in text)
    if visible != visible.strip() or not visible:
        visible = f'"{visible}"'
    return SPECIAL.sub(lambda match: f"\\{match[0]}", re.sub("  +", lambda spaces: "␣" * len(spaces[0]), visible))


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Returns a table; the cells are Markdown already, see `escaped`."""
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def code_block(code: str, language: str) -> str:
    """Returns code in a fence that nothing in it ends."""
    longest = max((len(ticks) for ticks in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"


def _visible(letter: str) -> str:
    if unicodedata.category(letter) not in HIDDEN:
        return letter
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(letter, f"\\u{ord(letter):04x}")
