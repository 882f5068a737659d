"""Windows of rows as an array whose rows lie in memory, or on disk, once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tfrun.data.arrays import StoredArray, windows_of


class WindowArray:
    """An array (E, length, …) of windows: example e is rows starts[e] + offset to starts[e] + offset + length - 1.

    It has the attributes of an array that is indexed by row numbers, and makes copies of those windows alone that are
    asked for.

    Args:
        values: (N, …) rows of all series, one after the other.
        starts: the first row of each example, (E,) int32.
        offset: the number of rows between an example's first row and that of the window.
        length: the number of rows of a window.
    """

    def __init__(self, values: np.ndarray | StoredArray, starts: np.ndarray, *, offset: int, length: int):
        self.values = values
        self.starts = starts
        self.offset = offset
        self.length = length
        self.shape = (len(starts), length, *values.shape[1:])
        self.dtype = values.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """The size of all windows, if each were a copy."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, examples: np.ndarray) -> np.ndarray:
        """Returns the windows of the examples with the given numbers, (R,): (R, length, …).

        What comes after the last row is that row again: the windows of a forecast have no targets yet.
        """
        first = self.starts[examples].astype(np.int64) + self.offset
        if (first + self.length <= len(self.values)).all():
            # each window is copied at once, which is many times as fast as row by row
            if isinstance(self.values, np.ndarray):
                return windows_of(self.values, self.length)[first]
            return self.values.take_windows(first, self.length)
        rows = np.minimum(first[:, None] + np.arange(self.length), len(self.values) - 1)
        taken: Any = self.values[rows.reshape(-1)]
        return np.asarray(taken).reshape(len(first), *self.shape[1:])
