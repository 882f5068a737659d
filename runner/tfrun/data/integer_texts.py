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

from tfrun.data.arrays import StoredArray, aligned_empty, blocks, join, load, select
from tfrun.data.lazy_texts import LazyTexts
from tfrun.data.sinks import MemorySink

SPELLING = re.compile(r"0|-?[1-9][0-9]{0,19}")  # other texts may be numbers too, but are other texts: 007, +7, 7.0
LEAST, LARGEST = 1 - 2**63, 2**64 - 2  # of int64 and of uint64; what is beyond stands for an empty cell


class IntegerTexts(LazyTexts):
    """A column of texts that are whole numbers, or empty.

    Args:
        numbers: (N,) integers of 32 or 64 bits, in memory or on disk; `empty_of` their type stands for an empty cell.
        missing: further numbers that stand for an empty cell.
    """

    def __init__(self, numbers: np.ndarray | StoredArray, missing: Sequence[int] = ()):
        self.numbers = numbers
        self.missing = tuple(missing)
        least, most = limits_of(numbers.dtype)
        self._missing = np.array([number for number in missing if least <= number <= most], numbers.dtype)

    @property
    def empty(self) -> Any:
        """The number that stands for an empty cell."""
        return empty_of(self.numbers.dtype)

    @property
    def is_stored(self) -> bool:
        return isinstance(self.numbers, StoredArray)

    @property
    def memory_bytes(self) -> int:
        return 0 if isinstance(self.numbers, StoredArray) else self.numbers.nbytes

    def parts(self) -> Iterator[Any]:
        yield np.array(list(map(str, self.missing)), object)
        yield self.numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return spelled(self.read(rows)).to_numpy(zero_copy_only=False)

    def read(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns the numbers of some rows, (R,)."""
        numbers = self.numbers[rows]
        if len(self._missing) == 0:
            return numbers
        return np.where(np.isin(numbers, self._missing), self.empty, numbers)

    def are_empty(self, rows: slice | np.ndarray) -> np.ndarray:
        return np.asarray(self.read(rows) == self.empty)

    def joined(self, rows: slice) -> bytes:
        return joined(spelled(self.read(rows)))

    def select(self, rows: np.ndarray) -> IntegerTexts:
        return IntegerTexts(select(self.numbers, rows), self.missing)

    def loaded(self) -> IntegerTexts:
        return IntegerTexts(load(self.numbers, self.numbers.dtype), self.missing)

    def without(self, missing: frozenset[str]) -> IntegerTexts:
        further = [number for number in map(integer_of, sorted(missing)) if number is not None]
        return IntegerTexts(self.numbers, [*self.missing, *further])

    def is_like(self, other: IntegerTexts) -> bool:
        """Returns whether a number means the same in two columns; one may have 32 bits and the other 64."""
        return self.numbers.dtype.kind == other.numbers.dtype.kind and self.missing == other.missing

    def counts(self, rows: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the different numbers of some rows, sorted and without the empty one, and how often each occurs.

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
        dtype: of the numbers.
    """

    def __init__(self, texts: Sequence[str], dtype: Any):
        numbers = [(integer_of(text), place) for place, text in enumerate(texts)]
        least, most = limits_of(dtype)
        within = [(number, place) for number, place in numbers if number is not None and least <= number <= most]
        known = np.array([number for number, _ in within], dtype)
        order = np.argsort(known)
        self._known, self._places = known[order], np.array([place for _, place in within], np.int32)[order]

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the place of each number, (R,) int32; -1 for those that aren't there, and for empty ones."""
        if len(self._known) == 0:
            return np.full(len(numbers), -1, np.int32)
        order = np.argsort(numbers)  # sorted ones are found several times as fast
        ordered = numbers[order]
        near = np.minimum(np.searchsorted(self._known, ordered), len(self._known) - 1)
        places = np.empty(len(numbers), np.int32)
        places[order] = np.where(self._known[near] == ordered, self._places[near], np.int32(-1))
        return places


class IntegerSink:
    """Keeps integers in memory, with 32 bits as long as these hold them; see `Sink`.

    Args:
        dtype: int64 or uint64.
        num_rows: about how many rows there will be, if that is known.
    """

    def __init__(self, dtype: Any, num_rows: int = 0):
        self._wide, self._num_rows = np.dtype(dtype), num_rows
        self._narrow = np.dtype(np.int32 if self._wide.kind == "i" else np.uint32)
        self._dtype = self._narrow
        self._sink = MemorySink(self._dtype, num_rows)

    def append(self, block: np.ndarray) -> None:
        if self._dtype != self._wide:
            is_empty, (least, most) = block == empty_of(self._wide), limits_of(self._narrow)
            if (is_empty | ((block >= least) & (block <= most))).all():
                self._sink.append(np.where(is_empty, empty_of(self._narrow), block).astype(self._narrow))
                return
            narrow, self._dtype = self._sink.finish(), self._wide
            self._sink = MemorySink(self._dtype, self._num_rows)
            if len(narrow):
                self._sink.append(widened(narrow, self._dtype))
        self._sink.append(block)

    def finish(self) -> np.ndarray:
        return self._sink.finish()

    def discard(self) -> None:
        self._sink.discard()


def widened(numbers: Any, dtype: Any) -> np.ndarray:
    """Returns integers, (N, ...), in a type of more bits; empty ones stay empty."""
    wide = aligned_empty(numbers.shape, dtype)
    for rows in blocks(numbers):
        block = numbers[rows]
        wide[rows] = block
        wide[rows][block == empty_of(block.dtype)] = empty_of(dtype)
    return wide


def empty_of(dtype: Any) -> Any:
    """Returns the number that stands for an empty cell: the one of its type of integers that is farthest from 0."""
    limits = np.iinfo(dtype)
    return np.dtype(dtype).type(limits.min if limits.kind == "i" else limits.max)


def limits_of(dtype: Any) -> tuple[int, int]:
    """Returns the least and the largest number of a type of integers, without that of an empty cell."""
    limits = np.iinfo(dtype)
    return (limits.min + 1, limits.max) if limits.kind == "i" else (limits.min, limits.max - 1)


def integer_of(text: str) -> int | None:
    """Returns the whole number of 64 bits, with or without a sign, that a text spells; None if it spells none."""
    if not SPELLING.fullmatch(text):
        return None
    number = int(text)
    return number if LEAST <= number <= LARGEST else None


def spelled(numbers: np.ndarray) -> Any:
    """Returns whole numbers, (R,), as texts, an Arrow array of strings; "" for empty ones."""
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
    """Returns how often each of the most frequent whole numbers occurs, by its text.

    Args:
        values: different numbers, (V,).
        counts: how often each occurs, (V,).
        max_ids: how many are wanted, and all that are as frequent as the last of them; None wants all.
        min_count: how often each must occur.
    """
    least = min_count
    if max_ids is not None and max_ids < len(counts):
        least = max(least, int(np.partition(counts, len(counts) - max_ids)[len(counts) - max_ids]))
    is_frequent = counts >= least  # of equally frequent numbers, the order of their texts decides
    texts = spelled(values[is_frequent]).to_pylist()
    return Counter(dict(zip(texts, counts[is_frequent].tolist(), strict=True)))


def join_integers(columns: Sequence[IntegerTexts]) -> IntegerTexts:
    """Returns the rows of several columns, which are alike, one after the other."""
    dtype = max((column.numbers.dtype for column in columns), key=lambda dtype: dtype.itemsize)
    numbers = [
        column.numbers if column.numbers.dtype == dtype else widened(column.numbers, dtype) for column in columns
    ]
    return IntegerTexts(join(numbers), columns[0].missing)


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
