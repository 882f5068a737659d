"""Columns of texts while they are read: each different text once, and each cell's number among them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa


class TextColumn:
    """Stores a column's cells as indices into its different texts, so that equal cells share one string."""

    def __init__(self) -> None:
        self._index_of: dict[str, int] = {}
        self._blocks: list[np.ndarray] = []

    def add(self, cells: pa.StringArray) -> None:
        """Appends the cells of a block."""
        encoded = cells.dictionary_encode()
        indices = [self._index_of.setdefault(text, len(self._index_of)) for text in encoded.dictionary.to_pylist()]
        self._blocks.append(np.array(indices, dtype=np.int32)[encoded.indices.to_numpy()])

    @property
    def values(self) -> list[str]:
        """The different texts, in the order of their first cells."""
        return list(self._index_of)

    def indices(self) -> np.ndarray:
        """Returns the index in `values` of each cell's text, (N,) int32."""
        return np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.int32)

    def array(self, missing: Collection[str] = ()) -> np.ndarray:
        """Returns the cells, (N,) object of str, with "" for those that are one of `missing`."""
        texts = ["" if text in missing else text for text in self.values]
        return np.array(texts, dtype=object)[self.indices()]

    def counts(self) -> np.ndarray:
        """Returns the number of cells with each of `values`."""
        return np.bincount(self.indices(), minlength=len(self._index_of))
