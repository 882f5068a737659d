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
    numbers = _Numbers(number_of)
    return for_each_text(texts, lambda block: [numbers[text] for text in block], np.float64)


def are_unknown(texts: Any, numbers: np.ndarray) -> np.ndarray:
    """Returns which texts aren't empty and have no number, (N,) bool; `numbers` are theirs, nan for none."""
    return np.isnan(numbers) & ~for_each_text(texts, lambda block: block == "", np.bool_)


def for_each_text(texts: Any, values_of: Callable[[np.ndarray], Any], dtype: Any) -> np.ndarray:
    """Returns a value for each text, (N,) of the given type.

    Args:
        texts: (N,) object of str, an array or a `StoredTexts`.
        values_of: gets some of the texts, (R,), and returns their values.
        dtype: the type of the values.
    """
    values = np.empty(len(texts), dtype)
    if isinstance(texts, StoredTexts):
        of_place = for_each_text(np.array(texts.values, dtype=object), values_of, dtype)
        for rows in blocks(texts):
            values[rows] = of_place[texts.codes[rows]]
        return values
    for rows in blocks(texts):
        values[rows] = values_of(texts[rows])
    return values


class _Numbers(dict[str, float]):
    """The numbers of texts, each computed once; nan for none."""

    def __init__(self, number_of: Callable[[str], float | None]):
        super().__init__({"": np.nan})
        self._number_of = number_of

    def __missing__(self, text: str) -> float:
        number = self._number_of(text)
        self[text] = np.nan if number is None else number
        return self[text]
