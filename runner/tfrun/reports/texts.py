"""Tables of texts, and values as texts."""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml


class TextTable(NamedTuple):
    """A table of texts: the heads of its columns, and its lines."""

    heads: list[str]
    lines: list[list[str]]


def as_text(value: Any) -> str:
    """Returns a config's value as YAML on one line."""
    return "" if value is None else yaml.safe_dump(value, default_flow_style=True, width=10**6).partition("\n")[0]
