"""A column of bags: lists of ids, of any length each, that mean what texts of several words mean.

The bag [12, 873, 55] is the text `12 873 55`, so that it means the same from every source.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfrun.data.arrays import StoredArray, load, select
from tfrun.data.integer_texts import IntegerTexts, join_integers, joined, most_counted, spelled
from tfrun.data.lazy_texts import LazyTexts
from tfrun.data.stored_texts import StoredTexts, join_texts

SPACES = "[ \t-\r]"  # at which TensorFlow splits a text
AT_ONCE_BYTES = 2**22  # of lists
NO_BREAK_SPACE = "\u00a0"


class Bags(LazyTexts):
    """A column of lists of texts, whose texts are the lists' ones with spaces between them; empty ones don't count.

    Args:
        bounds: the place in `flat` at which each list begins, and the one after its end, (N, 2) int64; in memory or on
            disk.
        flat: the texts of all lists, (M,); none has a space.
    """

    def __init__(self, bounds: np.ndarray | StoredArray, flat: IntegerTexts | StoredTexts):
        self.bounds = bounds
        self.flat = flat

    @classmethod
    def of_array(cls, numbers: Any) -> Bags:
        """Returns the rows of an array (N, K) of integers as bags."""
        values = np.asarray(numbers)
        starts = np.arange(len(values), dtype=np.int64) * values.shape[1]
        flat = values.reshape(-1).astype(np.uint64 if values.dtype == np.uint64 else np.int64)
        return cls(np.stack([starts, starts + values.shape[1]], axis=1), IntegerTexts(flat))

    @property
    def is_stored(self) -> bool:
        return isinstance(self.bounds, StoredArray)

    @property
    def memory_bytes(self) -> int:
        return (0 if isinstance(self.bounds, StoredArray) else self.bounds.nbytes) + self.flat.memory_bytes

    def parts(self) -> Iterator[Any]:
        yield self.bounds
        yield from self.flat.parts()

    @property
    def nbytes(self) -> int:
        """About how much memory is needed to read all rows: the more, the longer the lists are."""
        return 16 * len(self) + 8 * len(self.flat)

    @property
    def rows_at_once(self) -> int:
        """How many rows are looked at together, so that their lists don't take much memory."""
        return max(1, AT_ONCE_BYTES * len(self) // max(1, self.nbytes))

    def __len__(self) -> int:
        return len(self.bounds)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return self._spelled(rows).to_numpy(zero_copy_only=False)

    def joined(self, rows: slice) -> bytes:
        return joined(self._spelled(rows))

    def are_empty(self, rows: slice | np.ndarray) -> np.ndarray:
        return self.lengths(rows) == 0

    def lengths(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns how many texts some lists have, (R,) int64; empty ones aren't counted."""
        row_of, places = self.places(rows)
        is_filled = ~self.flat.are_empty(places)
        return np.bincount(row_of[is_filled], minlength=len(self.bounds[rows]))

    def places(self, rows: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the texts of some lists, list by list.

        Args:
            rows: a slice without a step, or row numbers, (R,).

        Returns:
            For each of their T texts its list, (T,) from 0 to R - 1, and its place in `flat`, (T,) int64.
        """
        bounds = self.bounds[rows]
        lengths = bounds[:, 1] - bounds[:, 0]
        first = np.cumsum(lengths) - lengths
        return np.repeat(np.arange(len(bounds)), lengths), np.arange(lengths.sum()) + np.repeat(
            bounds[:, 0] - first, lengths
        )

    def _spelled(self, rows: slice | np.ndarray) -> Any:
        """Returns the texts of some rows, an Arrow array of strings."""
        import pyarrow as pa  # loads Arrow, which a table doesn't need
        import pyarrow.compute as pc

        row_of, places = self.places(rows)
        is_filled = ~self.flat.are_empty(places)
        row_of, places = row_of[is_filled], places[is_filled]
        if isinstance(self.flat, IntegerTexts):
            texts = spelled(self.flat.read(places))
        else:
            texts = pa.array(self.flat.values, pa.string()).take(pa.array(self.flat.codes[places]))
        ends = np.cumsum(np.bincount(row_of, minlength=len(self.bounds[rows])))
        offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
        return pc.binary_join(pa.ListArray.from_arrays(offsets, texts), " ")

    def select(self, rows: np.ndarray) -> Bags:
        return Bags(select(self.bounds, rows), self.flat)

    def loaded(self) -> Bags:
        return Bags(load(self.bounds, np.int64), self.flat.loaded())

    def without(self, missing: frozenset[str]) -> Bags:
        return Bags(self.bounds, self.flat.without(missing))

    def most_frequent(self, rows: np.ndarray, max_ids: int | None) -> Counter[str]:
        """Returns how often texts are in the lists of some rows, of those that may be among the most frequent."""
        step = self.rows_at_once
        places = (self.places(rows[start : start + step])[1] for start in range(0, len(rows), step))
        if isinstance(self.flat, IntegerTexts):
            return most_counted(*self.flat.counts(places), max_ids=max_ids)
        totals = np.zeros(len(self.flat.values), np.int64)
        for block in places:
            codes, numbers = np.unique(self.flat.codes[block], return_counts=True)
            totals[codes] += numbers
        counts: Counter[str] = Counter()
        for code in np.flatnonzero(totals).tolist():  # equal texts may have several codes
            counts[self.flat.values[code]] += int(totals[code])
        return counts


def without_spaces(text: str) -> str:
    """Returns a text as a word: trimmed, and with no-break spaces for the spaces in it."""
    return re.sub(SPACES, NO_BREAK_SPACE, text.strip())


def join_columns(columns: Sequence[Any]) -> Any:
    """Returns the rows of several columns of texts, one after the other; what is on disk stays there."""
    if all(isinstance(column, IntegerTexts) for column in columns):
        if all(column.is_like(columns[0]) for column in columns):
            return join_integers(columns)
    elif all(isinstance(column, Bags) for column in columns):
        flat = join_columns([column.flat for column in columns])
        if isinstance(flat, np.ndarray):
            values, codes = np.unique(flat, return_inverse=True)
            flat = StoredTexts(codes.astype(np.int32), values.tolist())
        starts = np.cumsum([0, *(len(column.flat) for column in columns[:-1])])
        bounds = [load(column.bounds, np.int64) + start for column, start in zip(columns, starts, strict=True)]
        return Bags(np.concatenate(bounds), flat)
    return join_texts([column if isinstance(column, StoredTexts) else np.asarray(column) for column in columns])
