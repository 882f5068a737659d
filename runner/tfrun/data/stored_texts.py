"""A column of texts that stays on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfrun.data.arrays import StoredArray, blocks, join, load, select


class StoredTexts:
    """A column of texts whose different texts are in memory, and on disk for each row the place of its text in them.

    It can be indexed like an array (N,) object of str.

    Args:
        codes: the place in `values` of each row's text, (N,) int32; most often on disk.
        values: texts; equal ones may be there more than once.
    """

    ndim = 1
    dtype = np.dtype(object)

    def __init__(self, codes: np.ndarray | StoredArray, values: Sequence[str]):
        self.codes = codes
        self.values = list(values)
        self._texts = np.empty(len(self.values), object)
        self._texts[:] = self.values

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codes.shape

    @property
    def nbytes(self) -> int:
        """The size in memory of an array of references to the texts."""
        return 8 * len(self)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns the texts of a slice without a step, or of the rows with the given numbers, (R,) object of str."""
        return self._texts[self.codes[rows]]

    def __iter__(self) -> Iterator[str]:
        for rows in blocks(self):
            yield from self[rows]

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return self[:]

    def select(self, rows: np.ndarray) -> StoredTexts:
        """Returns the column of the rows with the given numbers, (R,), which stays on disk too."""
        return StoredTexts(select(self.codes, rows), self.values)


def join_texts(columns: Sequence[np.ndarray | StoredTexts]) -> np.ndarray | StoredTexts:
    """Returns the rows of several columns of texts, one after the other; the places of the first one stay on disk."""
    values: list[str] = []
    codes: list[np.ndarray | StoredArray] = []
    for column in columns:
        if isinstance(column, StoredTexts):
            places = load(column.codes, np.int32) + np.int32(len(values)) if values else column.codes
            texts = column.values
        else:
            different, inverse = np.unique(column, return_inverse=True)
            places, texts = inverse.astype(np.int32) + np.int32(len(values)), different.tolist()
        codes.append(places)
        values += texts
    joined = join(codes)
    return StoredTexts(joined, values) if isinstance(joined, StoredArray) else np.array(values, dtype=object)[joined]


def for_fitting(column: np.ndarray | StoredArray | StoredTexts) -> Any:
    """Returns a column whose rows can be taken in any order without reading the disk again and again.

    Numbers and the places of texts are loaded into memory. Arrays of several values, which may be large, are not.
    """
    if isinstance(column, StoredArray) and column.ndim == 1:
        return load(column, column.dtype)
    if isinstance(column, StoredTexts):
        return StoredTexts(load(column.codes, np.int32), column.values)
    return column
