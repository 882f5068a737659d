"""An iterable of rows that says how many they are, for data sets that make their rows one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rows:
    """Rows that a generator makes, with their number: `return Rows(generate, 1000)`.

    Attributes:
        rows: a generator function without arguments, or an iterable. It gives rows or batches: (x, y), (x, y, weights)
            or a mapping of columns.
        length: how many elements it gives.
    """

    rows: Callable[[], Iterable[Any]] | Iterable[Any]
    length: int

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows() if callable(self.rows) else self.rows)
