"""What the rules share: rows cut into parts, and the different cells of a column."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from tfrun.data.arrays import blocks
from tfrun.data.integer_texts import IntegerTexts, spelled

MAX_NAMES = 5  # of classes or folds in a message


@dataclass(frozen=True)
class Parts:
    """Rows cut into parts.

    Attributes:
        rows: the row numbers of each part.
        notes: sentences on what a person should know of them.
    """

    rows: list[np.ndarray]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fold:
    """A fold, and the rows that are trained on when it validates.

    Attributes:
        train: row numbers.
        val: row numbers.
        notes: sentences on what a person should know of them.
    """

    train: np.ndarray
    val: np.ndarray
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

    def fold(self, rows: np.ndarray, number: int, *, num_folds: int, random: np.random.Generator) -> Fold:
        """Returns a fold of rows that are divided into folds of about the same size, and the rows to train on.

        The sizes differ by a row at most where the rule can cut at any row.

        Args:
            rows: row numbers, (R,) int32, in the table's order.
            number: of the fold, 0 to `num_folds - 1`.
            num_folds: at most R.
            random: of the division, in the same state for each of its folds.

        Raises:
            DataError: the rows can't be divided so.
        """
        parts = self.cut(rows, even_sizes(len(rows), num_folds)[:-1], random)
        return Fold(np.concatenate([*parts.rows[:number], *parts.rows[number + 1 :]]), parts.rows[number], parts.notes)

    def limit(self, rows: np.ndarray, num_rows: int, random: np.random.Generator) -> np.ndarray:
        """Returns `num_rows` of the training rows; `random` as for `cut`."""
        return rows[:num_rows]

    def check(self, splits: Mapping[str, np.ndarray], find: Callable[[int], str]) -> None:  # noqa: B027 (not all do)
        """Raises DataError if splits that the source gives break what the rule promises; `find` says where a row is."""


def listed(names: Sequence[Any]) -> str:
    """Returns the first names of classes or folds, for a message."""
    return ", ".join(map(repr, names[:MAX_NAMES])) + (", …" if len(names) > MAX_NAMES else "")


def of_one_row(classes: Sequence[Any]) -> str:
    """Returns the beginning of a sentence on classes that have a single row."""
    if len(classes) == 1:
        return f"class {listed(classes)} has one row"
    return f"classes {listed(classes)} have one row each"


def even_sizes(num_rows: int, num_parts: int) -> list[int]:
    """Returns the sizes of parts that differ by a row at most."""
    ends = [num_rows * k // num_parts for k in range(num_parts + 1)]
    return [end - start for start, end in pairwise(ends)]


def codes_of(cells: Any, rows: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """Returns the place of each row's cell among the different ones, (R,) int64, and these in their first rows' order.

    Args:
        cells: a column, (N,) numbers or texts.
        rows: row numbers, (R,).
    """
    if isinstance(cells, IntegerTexts):
        return _integer_codes(cells.read(rows))
    places: dict[Any, int] = {}
    codes = np.empty(len(rows), np.int64)
    for part in blocks(codes):
        block = cells[rows[part]].tolist()
        codes[part] = [places.setdefault(cell, len(places)) for cell in block]
    return codes, list(places)


def _integer_codes(numbers: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """Returns the same for whole numbers, (R,), whose different ones are texts."""
    different, first, places = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[places], spelled(different[order]).to_pylist()


def is_empty(cell: Any) -> bool:
    """Returns whether a cell of texts or numbers is empty: "" or nan."""
    return cell == "" or cell != cell
