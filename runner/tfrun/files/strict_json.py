"""JSON as every reader takes it: a number that isn't finite is null, since JSON has neither NaN nor Infinity."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any


def dumps(
    value: Any, *, indent: int | None = None, sort_keys: bool = False, default: Callable[[Any], Any] | None = None
) -> str:
    """Returns a value as JSON; the arguments are those of `json.dumps`."""
    try:
        return json.dumps(value, indent=indent, sort_keys=sort_keys, default=default, allow_nan=False)
    except ValueError:  # the common case, without such a number, isn't slowed down by looking for one
        return json.dumps(with_nulls(value), indent=indent, sort_keys=sort_keys, default=default, allow_nan=False)


def defined(value: Any) -> float | None:
    """Returns a number as it is, or None if it isn't one or isn't finite, which means that a value isn't defined."""
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def with_nulls(value: Any) -> Any:
    """Returns plain containers with None in place of each number that isn't finite."""
    if isinstance(value, float):
        return defined(value)
    if isinstance(value, dict):
        return {key: with_nulls(item) for key, item in value.items()}
    return [with_nulls(item) for item in value] if isinstance(value, list | tuple) else value
