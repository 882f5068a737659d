"""Columns of texts while they are read: each different text once, and each cell's number among them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa

from tfrun.data.arrays import StoredArray, blocks, load
from tfrun.data.sinks import MemorySink, Sink
from tfrun.data.stored_texts import StoredTexts


class TextColumn:
    """Stores a column's cells as indices into its different texts, so that equal cells share one string.

    Args:
        indices: where the indices go, int32.
    """

    def __init__(self, indices: Sink | None = None) -> None:
        self._index_of: dict[str, int] = {}
        self._sink = indices or MemorySink(np.int32)
        self._indices: np.ndarray | StoredArray | None = None

    @classmethod
    def of(cls, indices: StoredArray, values: Sequence[str]) -> TextColumn:
        """Returns a column whose cells are all there."""
        column = cls()
        column._index_of = {value: place for place, value in enumerate(values)}
        column._indices = indices
        return column

    def add(self, cells: pa.StringArray) -> None:
        """Appends the cells of a block."""
        encoded = cells.dictionary_encode()
        indices = [self._index_of.setdefault(text, len(self._index_of)) for text in encoded.dictionary.to_pylist()]
        self._sink.append(np.array(indices, dtype=np.int32)[encoded.indices.to_numpy()])

    @property
    def values(self) -> list[str]:
        """The different texts, in the order of their first cells."""
        return list(self._index_of)

    def finish(self) -> np.ndarray | StoredArray:
        """Returns the index in `values` of each cell's text, (N,) int32. No cells can be added after that."""
        if self._indices is None:
            self._indices = self._sink.finish()
        return self._indices

    def indices(self) -> np.ndarray:
        """Returns the same in memory."""
        return load(self.finish(), np.int32)

    def array(self, missing: Collection[str] = ()) -> np.ndarray:
        """Returns the cells, (N,) object of str, with "" for those that are one of `missing`."""
        texts = ["" if text in missing else text for text in self.values]
        return np.array(texts, dtype=object)[self.indices()]

    def column(self, missing: Collection[str] = ()) -> np.ndarray | StoredTexts:
        """Returns the same; cells on disk stay there."""
        indices = self.finish()
        if isinstance(indices, StoredArray):
            return StoredTexts(indices, ["" if text in missing else text for text in self.values])
        return self.array(missing)

    def counts(self) -> np.ndarray:
        """Returns the number of cells with each of `values`."""
        indices, counts = self.finish(), np.zeros(len(self._index_of), np.int64)
        for rows in blocks(indices, 2**24):
            counts += np.bincount(indices[rows], minlength=len(counts))
        return counts
