"""What the kinds of columns of texts have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from tfrun.data.arrays import blocks
from tfrun.data.kinds.raw import RawColumn
from tfrun.data.stored_texts import StoredTexts


class TextColumn:
    """What columns of texts have in common: an exported model takes strings."""

    name: str

    is_text: ClassVar = True
    raw_shape: ClassVar[tuple[int, ...]] = (1,)

    def raw_dtype(self, floatx: str) -> str:
        """Returns the type of the cells that an exported model takes."""
        return "string"

    def raw_type(self, floatx: str) -> str:
        """Returns what an exported model takes, for a person."""
        return 'string (batch, 1), "" for empty'

    def raw(self, cells: Any, floatx: str) -> np.ndarray:
        """Returns raw cells as an exported model takes them, (N, 1) str."""
        return np.asarray(cells, str)[:, None]


def most_frequent(counts: Counter[str], max_ids: int | None, *, raw: RawColumn) -> tuple[str, ...]:
    """Returns the texts that aren't empty, the most frequent first, at most `max_ids`. Raises DataError for none."""
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    values = tuple(value for value, _ in ranked if value)[:max_ids]
    if not values:
        raise raw.no_value()
    return values


def numbers_of(texts: Any, number_of: Callable[[str], float | None]) -> np.ndarray:
    """Returns a number for each text, (N,) float64: nan for an empty text, and where `number_of` returns None.

    Args:
        texts: (N,) object of str.
        number_of: called once for each different text.
    """
    return _for_each(texts, _Memo(lambda text: _or_nan(number_of(text)) if text else np.nan), np.float64)


def unknown_texts(texts: Any, number_of: Callable[[str], float | None]) -> np.ndarray:
    """Returns which texts aren't empty and have no number, (N,) bool; the arguments are those of `numbers_of`."""
    return _for_each(texts, _Memo(lambda text: text != "" and number_of(text) is None), np.bool_)


class _Memo(dict[str, Any]):
    """What a function returns for texts, remembered."""

    def __init__(self, function: Callable[[str], Any]):
        super().__init__()
        self._function = function

    def __missing__(self, text: str) -> Any:
        value = self[text] = self._function(text)
        return value


def _for_each(texts: Any, value_of: _Memo, dtype: Any) -> np.ndarray:
    values = np.empty(len(texts), dtype)
    if isinstance(texts, StoredTexts):
        of_place = np.array([value_of[text] for text in texts.values], dtype)
        for rows in blocks(texts):
            values[rows] = of_place[texts.codes[rows]]
        return values
    for rows in blocks(texts):
        values[rows] = [value_of[text] for text in texts[rows]]
    return values


def _or_nan(number: float | None) -> float:
    return np.nan if number is None else number
