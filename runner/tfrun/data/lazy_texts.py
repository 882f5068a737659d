"""The base class of columns of texts that aren't kept as an array of texts, but make a text when it is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from tfrun.data.arrays import blocks


class LazyTexts(ABC):
    """A column of texts that are made when they are read; it can be indexed like an array (N,) object of str."""

    ndim = 1
    dtype = np.dtype(object)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns the texts of a slice without a step, or of the rows with the given numbers, (R,) object of str."""

    @property
    @abstractmethod
    def is_stored(self) -> bool:
        """Whether its cells are on disk."""

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """The size of what is in memory of it."""

    @abstractmethod
    def parts(self) -> Iterator[Any]:
        """Yields the arrays that it is made of, in memory and on disk."""

    @abstractmethod
    def select(self, rows: np.ndarray) -> Self:
        """Returns the column of the rows with the given numbers, (R,); what is on disk stays there."""

    @abstractmethod
    def loaded(self) -> Self:
        """Returns the same with its cells in memory."""

    @abstractmethod
    def without(self, missing: frozenset[str]) -> Self:
        """Returns the same with empty cells for the texts that stand for no value."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self),)

    @property
    def nbytes(self) -> int:
        """The size in memory of an array of references to the texts."""
        return 8 * len(self)

    def are_empty(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns which of some cells are empty, (R,) bool."""
        return np.asarray(self[rows] == "")

    def joined(self, rows: slice) -> bytes:
        r"""Returns some texts as UTF-8, with "\0" between them."""
        return "\0".join(self[rows]).encode()

    def __iter__(self) -> Iterator[str]:
        for rows in blocks(self):
            yield from self[rows]

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return self[:]
