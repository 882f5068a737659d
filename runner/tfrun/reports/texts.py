"""Tables of texts, and values as texts."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import yaml


class TextTable(NamedTuple):
    """A table of texts: the heads of its columns, and its lines."""

    heads: list[str]
    lines: list[list[str]]


def as_text(value: Any) -> str:
    """Returns a config's value as YAML on one line."""
    if value is None:
        return ""
    return _scalar_as_text(value) if isinstance(value, bool | int | float | str) else _as_yaml(value)


@functools.lru_cache(maxsize=10_000, typed=True)  # thousands of runs have the same few values
def _scalar_as_text(value: bool | int | float | str) -> str:
    return _as_yaml(value)


def _as_yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).partition("\n")[0]


def shortened(text: str, letters: int) -> str:
    """Returns a text, cut to a number of letters if it is longer."""
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def readable(value: float, digits: int = 4) -> str:
    """Returns a number with at least the given digits, all those before the point, and no exponent: `39,164`, `0.0123`.

    Those that would be very long have an exponent. A number that isn't finite is `undefined`, except for `∞`.
    """
    if not math.isfinite(value):
        return "∞" if value == math.inf else "undefined"
    if value == 0 or not 1e-4 <= abs(value) < 1e15:
        return f"{value:.{digits}g}"
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text
