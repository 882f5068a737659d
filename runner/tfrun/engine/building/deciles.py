"""Deciles of the number columns, for a model that may read them when it is built: then its program is made for them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Boundaries = tuple[float, ...]


def _reading_all(method: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a method of a dict that records that all values are read."""

    @functools.wraps(method)
    def read(self: Deciles, *args: Any) -> Any:
        self.were_read |= self.known.keys()
        return method(self, *args)

    return read


class Deciles(dict[str, Boundaries]):
    """The `Features.numbers` that a model gets, which records the columns whose boundaries are read, not their names.

    The folds of a cross-validation have the same columns, with other boundaries. They share a program unless the model
    has read boundaries that differ.

    Attributes:
        known: the boundaries by column.
        were_read: names of the columns whose boundaries were read.
    """

    def __init__(self, numbers: Any = ()):
        super().__init__(numbers)
        self.known = dict(numbers)
        self.were_read: set[str] = set()

    def accepts(self, numbers: Mapping[str, Boundaries]) -> bool:
        """Returns whether all that was read is the same in another run's `Features.numbers`."""
        return all(self.known[name] == numbers.get(name) for name in self.were_read)

    def __getitem__(self, name: str) -> Boundaries:
        boundaries = super().__getitem__(name)
        self.were_read.add(name)
        return boundaries

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self:
            return default
        return self[name]

    def __iter__(self) -> Iterator[str]:  # so that dict(deciles) asks for each value
        return super().__iter__()

    values = _reading_all(dict.values)
    items = _reading_all(dict.items)
    copy = _reading_all(dict.copy)
    pop = _reading_all(dict.pop)
    popitem = _reading_all(dict.popitem)
    __or__ = _reading_all(dict.__or__)
    __eq__ = _reading_all(dict.__eq__)
    __ne__ = _reading_all(dict.__ne__)
    __repr__ = _reading_all(dict.__repr__)
    __hash__ = None
