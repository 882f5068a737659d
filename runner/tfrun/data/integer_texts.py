"""A column of texts that are whole numbers, ids for example: it is kept as integers.

A whole number in Parquet is the text that it would be in a CSV file, so that it means the same from every source. That
text is made of a block of rows at a time, if at all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tfrun.data.arrays import StoredArray, blocks, join, load, select
from tfrun.data.lazy_texts import LazyTexts

SPELLING = re.compile(r"0|-?[1-9][0-9]{0,19}")  # other texts may be numbers too, but are other texts: 007, +7, 7.0


class IntegerTexts(LazyTexts):
    """A column of texts that are whole numbers, or empty.

    Args:
        numbers: (N,) int64 or uint64, in memory or on disk; `empty_of` its type stands for an empty cell.
        missing: further numbers that stand for an empty cell.
    """

    def __init__(self, numbers: np.ndarray | StoredArray, missing: Sequence[int] = ()):
        self.numbers = numbers
        self.missing = np.array(missing, numbers.dtype)

    @property
    def empty(self) -> Any:
        """The number of an empty cell."""
        return empty_of(self.numbers.dtype)

    @property
    def is_stored(self) -> bool:
        return isinstance(self.numbers, StoredArray)

    @property
    def memory_bytes(self) -> int:
        return 0 if isinstance(self.numbers, StoredArray) else self.numbers.nbytes

    def parts(self) -> Iterator[Any]:
        yield self.missing
        yield self.numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return spelled(self.read(rows)).to_numpy(zero_copy_only=False)

    def read(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns the numbers of some rows, (R,)."""
        numbers = self.numbers[rows]
        if len(self.missing) == 0:
            return numbers
        return np.where(np.isin(numbers, self.missing), self.empty, numbers)

    def are_empty(self, rows: slice | np.ndarray) -> np.ndarray:
        return np.asarray(self.read(rows) == self.empty)

    def joined(self, rows: slice) -> bytes:
        return joined(spelled(self.read(rows)))

    def select(self, rows: np.ndarray) -> IntegerTexts:
        return IntegerTexts(select(self.numbers, rows), self.missing.tolist())

    def loaded(self) -> IntegerTexts:
        return IntegerTexts(load(self.numbers, self.numbers.dtype), self.missing.tolist())

    def without(self, missing: frozenset[str]) -> IntegerTexts:
        wanted = [integer_of(text, self.numbers.dtype) for text in missing]
        return IntegerTexts(self.numbers, [*self.missing.tolist(), *(n for n in wanted if n is not None)])

    def is_like(self, other: IntegerTexts) -> bool:
        """Returns whether the same numbers mean the same in two columns."""
        return self.numbers.dtype == other.numbers.dtype and np.array_equal(self.missing, other.missing)

    def counts(self, rows: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the different numbers of some rows, in their order and without the empty one, and how often each is.

        Args:
            rows: row numbers, (R,) each, a block of rows after the other.

        Returns:
            (V,) of the type of the numbers, and (V,) int64.
        """
        totals = (np.empty(0, self.numbers.dtype), np.empty(0, np.int64))
        waiting: list[tuple[np.ndarray, np.ndarray]] = []
        num_waiting = 0
        for block in rows:
            waiting.append(np.unique(self.read(block), return_counts=True))
            num_waiting += len(waiting[-1][0])
            if num_waiting > len(totals[0]):  # so that all of them are sorted a few times only
                totals, waiting, num_waiting = _added([totals, *waiting]), [], 0
        values, counts = _added([totals, *waiting])
        is_filled = values != self.empty
        return values[is_filled], counts[is_filled]


class IntegerPlaces:
    """The places that whole numbers have in a list of texts.

    Args:
        texts: different ones; those that aren't whole numbers have no place here.
        dtype: of the numbers, int64 or uint64.
    """

    def __init__(self, texts: Sequence[str], dtype: Any):
        numbers = [integer_of(text, dtype) for text in texts]
        places = np.array([place for place, number in enumerate(numbers) if number is not None], np.int32)
        known = np.array([number for number in numbers if number is not None], dtype)
        order = np.argsort(known)
        self._known, self._places = known[order], places[order]

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the place of each number, (R,) int32; -1 for those that aren't there, and for empty ones."""
        if len(self._known) == 0:
            return np.full(len(numbers), -1, np.int32)
        near = np.minimum(np.searchsorted(self._known, numbers), len(self._known) - 1)
        return np.where(self._known[near] == numbers, self._places[near], np.int32(-1))


def empty_of(dtype: Any) -> Any:
    """Returns the number that stands for an empty cell: the one of its type, int64 or uint64, farthest from 0."""
    limits = np.iinfo(dtype)
    return np.dtype(dtype).type(limits.min if limits.kind == "i" else limits.max)


def integer_of(text: str, dtype: Any) -> int | None:
    """Returns the number of a type, int64 or uint64, that is spelled so, or None."""
    if not SPELLING.fullmatch(text):
        return None
    number, limits = int(text), np.iinfo(dtype)
    return number if limits.min <= number <= limits.max and number != empty_of(dtype) else None


def spelled(numbers: np.ndarray) -> Any:
    """Returns whole numbers, (R,) int64 or uint64, as texts, an Arrow array of strings; "" for empty ones."""
    import pyarrow as pa  # loads Arrow, which a table doesn't need
    import pyarrow.compute as pc

    cells = pa.array(numbers, mask=numbers == empty_of(numbers.dtype))
    return pc.fill_null(pc.cast(cells, pa.string()), "")


def joined(texts: Any) -> bytes:
    r"""Returns texts, an Arrow array of strings, as UTF-8 with "\0" between them."""
    import pyarrow.compute as pc

    if len(texts) == 0:
        return b""
    ended = pc.binary_join_element_wise(texts, "", "\0")  # each text with "\0" after it, one after the other
    return bytes(memoryview(ended.buffers()[2])[: pc.sum(pc.binary_length(ended)).as_py() - 1])


def most_counted(values: np.ndarray, counts: np.ndarray, *, max_ids: int | None, min_count: int = 1) -> Counter[str]:
    """Returns how often whole numbers are, by their texts, of those that may be among the most frequent ones.

    Args:
        values: different numbers, (V,).
        counts: how often each is, (V,).
        max_ids: how many are kept; all of them for None.
        min_count: how often they must be.
    """
    least = min_count
    if max_ids is not None and max_ids < len(counts):
        least = max(least, int(np.partition(counts, len(counts) - max_ids)[len(counts) - max_ids]))
    is_frequent = counts >= least  # of equally frequent numbers, the order of their texts decides
    texts = spelled(values[is_frequent]).to_pylist()
    return Counter(dict(zip(texts, counts[is_frequent].tolist(), strict=True)))


def join_integers(columns: Sequence[IntegerTexts]) -> IntegerTexts:
    """Returns the rows of several columns, which are alike, one after the other."""
    return IntegerTexts(join([column.numbers for column in columns]), columns[0].missing.tolist())


def as_integers(numbers: Any) -> IntegerTexts | None:
    """Returns numbers, (N,), as texts that are whole numbers, nan as empty ones; None if they aren't all such.

    Args:
        numbers: integers or floats.
    """
    dtype = np.dtype(np.uint64 if numbers.dtype == np.uint64 else np.int64)
    result = np.empty(len(numbers), dtype)
    for rows in blocks(numbers):
        block = numbers[rows]
        if block.dtype.kind == "f":
            is_empty = np.isnan(block)
            block = np.where(is_empty, 0, block)
            if (block != np.floor(block)).any() or (np.abs(block) > 2**53).any():
                return None
            result[rows] = np.where(is_empty, empty_of(dtype), block.astype(dtype))
        elif block.dtype.kind in "iu" and not (block == empty_of(dtype)).any():
            result[rows] = block
        else:
            return None
    return IntegerTexts(result)


def _added(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the different values of several parts, sorted, and the sums of their counts."""
    values, places = np.unique(np.concatenate([values for values, _ in parts]), return_inverse=True)
    totals = np.zeros(len(values), np.int64)
    np.add.at(totals, places, np.concatenate([counts for _, counts in parts]))
    return values, totals
