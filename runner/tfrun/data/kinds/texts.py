"""What the kinds of columns of texts have in common."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import numpy as np

from tfrun.data.kinds.raw import RawColumn


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
