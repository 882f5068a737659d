"""A column of texts that stays on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfrun.data.arrays import StoredArray, join, load, select
from tfrun.data.lazy_texts import LazyTexts


class StoredTexts(LazyTexts):
    """A column of texts whose different texts are in memory, and on disk for each row the place of its text in them.

    Args:
        codes: the place in `values` of each row's text, (N,) int32; most often on disk.
        values: texts; equal ones may be there more than once.
    """

    def __init__(self, codes: np.ndarray | StoredArray, values: Sequence[str]):
        self.codes = codes
        self.values = list(values)
        self._texts = np.empty(len(self.values), object)
        self._texts[:] = self.values

    @property
    def is_stored(self) -> bool:
        return isinstance(self.codes, StoredArray)

    @property
    def memory_bytes(self) -> int:
        return 0 if isinstance(self.codes, StoredArray) else self.codes.nbytes

    def parts(self) -> Iterator[Any]:
        yield np.array(self.values, object)
        yield self.codes

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return self._texts[self.codes[rows]]

    def select(self, rows: np.ndarray) -> StoredTexts:
        return StoredTexts(select(self.codes, rows), self.values)

    def loaded(self) -> StoredTexts:
        return StoredTexts(load(self.codes, np.int32), self.values)

    def without(self, missing: frozenset[str]) -> StoredTexts:
        return StoredTexts(self.codes, ["" if text in missing else text for text in self.values])


def join_texts(columns: Sequence[np.ndarray | LazyTexts]) -> np.ndarray | StoredTexts:
    """Returns the rows of several columns of texts, one after the other; the places of the first one stay on disk."""
    values: list[str] = []
    codes: list[np.ndarray | StoredArray] = []
    for column in columns:
        if isinstance(column, StoredTexts):
            places = load(column.codes, np.int32) + np.int32(len(values)) if values else column.codes
            texts = column.values
        else:
            different, inverse = np.unique(np.asarray(column), return_inverse=True)
            places, texts = inverse.astype(np.int32) + np.int32(len(values)), different.tolist()
        codes.append(places)
        values += texts
    joined = join(codes)
    return StoredTexts(joined, values) if isinstance(joined, StoredArray) else np.array(values, dtype=object)[joined]


def for_fitting(column: np.ndarray | StoredArray | LazyTexts) -> Any:
    """Returns a column whose rows can be taken in any order without reading the disk again and again.

    Numbers and the places of texts are loaded into memory. Arrays of several values, which may be large, are not.
    """
    if isinstance(column, StoredArray) and column.ndim == 1:
        return load(column, column.dtype)
    return column.loaded() if isinstance(column, LazyTexts) else column
