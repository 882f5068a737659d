"""Finds cells that a person reads as numbers and tfrun doesn't: with a unit, a currency or thousands separators."""

from __future__ import annotations

import re
from collections.abc import Collection

from tfrun.components.datasets.csv_numbers import SPACES
from tfrun.errors import as_typed

CURRENCY = "[$€£¥₹]|USD|EUR|GBP|CHF|JPY"
UNIT = r"[^\W\d_]{1,4}[²³]?"  # a few letters
WRITTEN = re.compile(
    rf"[+-]?(?P<before>{CURRENCY})?[{SPACES}]?[+-]?"
    rf"(?:\d{{1,3}}(?:(?P<between>[{SPACES}_'’.,])\d{{3}})+(?:[.,]\d+)?|\d+(?:[.,]\d+)?)"
    rf"[{SPACES}]?(?P<after>{CURRENCY}|[%‰]|°?{UNIT}(?:/{UNIT})?)?"
)
THOUSANDS = f"{SPACES}_',."
MAX_SIGNS = 3  # cells with more different ones are names of something
MIN_SHARE = 0.9  # of the texts, that look like numbers


def signs_of_numbers(texts: Collection[str], decimal: str) -> list[str]:
    """Returns the signs with which texts are numbers: ["%"] for 12%, ["$", ","] for $1,200.

    The list is empty if most texts aren't numbers in any such way.

    Args:
        texts: different cells of a column, none of which stands for no value.
        decimal: the character before a number's fraction, which is no such sign.
    """
    matches = [match for text in texts if (match := WRITTEN.fullmatch(text))]
    if len(matches) < MIN_SHARE * len(texts):
        return []
    written = (match[part] for part in ("before", "between", "after") for match in matches)
    signs = dict.fromkeys(sign for sign in written if sign not in (None, decimal))
    return list(signs) if len(signs) <= MAX_SIGNS else []


def options_for(signs: Collection[str]) -> str:
    """Returns the words that make data=csv read numbers with such signs, as they are typed in a shell."""
    thousands = [sign for sign in signs if sign in THOUSANDS]
    others = [sign for sign in signs if sign not in THOUSANDS]
    words = [as_typed("data.strip", others)] if others else []
    return " ".join([*words, *(as_typed("data.thousands", " " if sign in SPACES else sign) for sign in thousands[:1])])


def describe_signs(signs: Collection[str]) -> str:
    """Returns signs for messages: `'$' and ','`."""
    return " and ".join("a space" if sign in SPACES else repr(sign) for sign in signs)
