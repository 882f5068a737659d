"""Where the blocks of a column go while it is read: into memory."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from tfrun.data.arrays import StoredArray, aligned_empty


class Sink(Protocol):
    """Takes a column block by block. All blocks have one dtype and one shape of rows."""

    def append(self, block: np.ndarray) -> None:
        """Adds rows, (B, ...)."""

    def finish(self) -> np.ndarray | StoredArray:
        """Returns all rows, (N, ...); called once, after the last block."""


class MemorySink:
    """Keeps the blocks in memory.

    Args:
        dtype: of a column without any row.
    """

    def __init__(self, dtype: Any):
        self._dtype = np.dtype(dtype)
        self._blocks: list[np.ndarray] = []

    def append(self, block: np.ndarray) -> None:
        self._blocks.append(block)

    def finish(self) -> np.ndarray:
        if not self._blocks:
            return np.empty(0, self._dtype)
        first = self._blocks[0]
        column = aligned_empty((sum(map(len, self._blocks)), *first.shape[1:]), first.dtype)
        start = 0
        for block in self._blocks:
            column[start : start + len(block)] = block
            start += len(block)
        self._blocks.clear()
        return column
