"""The config key that makes a variable smaller, for a message about the memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tfrun.config.settings import Settings
from tfrun.data.kinds.hashed import HashedColumn
from tfrun.data.kinds.tokens import TokensColumn
from tfrun.data.preprocessing import Preprocessing


def key_of(shape: Sequence[int], settings: Settings, preprocessing: Preprocessing) -> str | None:
    """Returns the path of a key whose smaller value makes a variable of a shape smaller, or None if none is known.

    Several columns may share a table of ids: the one that has most of its rows counts. Other lengths are compared with
    the numbers of the model's parameters, the greatest length first.

    Args:
        shape: the variable's.
        settings: the config.
        preprocessing: its columns are fitted.
    """
    numbers = {number: path for path, number in _numbers(settings.model.params, "model")}
    for length in sorted(shape, reverse=True):
        for column in (*preprocessing.categories, *preprocessing.tokens):
            if column.num_ids <= length < 2 * column.num_ids and not _has_tokenizer(column):
                section = "text" if column.name in settings.data.text else "kinds"
                return f"data.{section}.{column.name}.{_limit_of(column)}"
        if length in numbers:
            return numbers[length]
    return None


def _has_tokenizer(column: Any) -> bool:
    return isinstance(column, TokensColumn) and column.tokenizer is not None


def _limit_of(column: Any) -> str:
    """Returns the parameter of a column's kind that limits its ids."""
    is_hashed = isinstance(column, HashedColumn) or (isinstance(column, TokensColumn) and column.bins is not None)
    return "bins" if is_hashed else "max_ids"


def _numbers(value: Any, path: str) -> Iterator[tuple[str, int]]:
    """Yields the whole numbers in parameters with their paths; those of a list have the list's path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _numbers(item, f"{path}.{place}" if isinstance(item, dict) else path)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield path, value
