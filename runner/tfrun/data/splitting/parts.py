"""What the rules share: rows cut into parts, and the different cells of a column."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfrun.data.arrays import blocks


@dataclass(frozen=True)
class Parts:
    """Rows cut into parts.

    Attributes:
        rows: the row numbers of each part.
        notes: sentences on what a person should know of them.
    """

    rows: list[np.ndarray]
    notes: tuple[str, ...] = ()


class Rule(ABC):
    """Cuts rows into parts.

    Attributes:
        why_sizes_differ: why parts may have other sizes than those that are wanted.
    """

    why_sizes_differ: ClassVar[str] = ""

    @abstractmethod
    def cut(self, rows: np.ndarray, sizes: Sequence[int], random: np.random.Generator) -> Parts:
        """Returns as many parts as there are sizes, each of about its size, and the other rows as one more part.

        Args:
            rows: row numbers, (R,) int32, in the table's order.
            sizes: the wanted number of rows of each part; a part of size 0 is empty. The sum is at most R.
            random: of the split's seed.

        Raises:
            DataError: the rows can't be cut so.
        """

    def limit(self, rows: np.ndarray, num_rows: int, random: np.random.Generator) -> np.ndarray:
        """Returns so many of the training rows; `random` as for `cut`."""
        return rows[:num_rows]

    def check(self, splits: Mapping[str, np.ndarray], find: Callable[[int], str]) -> None:  # noqa: B027 (not all do)
        """Raises DataError if splits that the source gives break what the rule promises; `find` says where a row is."""


def codes_of(cells: Any, rows: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """Returns the place of each row's cell among the different ones, (R,) int64, and these in their first rows' order.

    Args:
        cells: a column, (N,) numbers or texts.
        rows: row numbers, (R,).
    """
    places: dict[Any, int] = {}
    codes = np.empty(len(rows), np.int64)
    for part in blocks(codes):
        block = cells[rows[part]].tolist()
        codes[part] = [places.setdefault(cell, len(places)) for cell in block]
    return codes, list(places)


def is_empty(cell: Any) -> bool:
    """Returns whether a cell of texts or numbers is empty: "" or nan."""
    return cell == "" or cell != cell
