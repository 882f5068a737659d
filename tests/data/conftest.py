"""A table of ten rows, small enough to compute every number by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfrun.data.table import Table


def text(*cells: str) -> np.ndarray:
    """Returns a column of texts."""
    return np.array(cells, dtype=object)


@pytest.fixture
def train() -> np.ndarray:
    """The training rows of `homes`."""
    return np.arange(6)


@pytest.fixture
def homes() -> Callable[..., Table]:
    """Makes the table, with the given changes; rows 6 to 9 hold what must not be learnt."""

    def make(**changes: Any) -> Table:
        columns = {
            "size": np.array([1.0, 2.0, np.nan, 4.0, 5.0, 9.0, 1e6, 1e6, np.nan, 1e6]),
            "flat": np.full(10, 3.0),
            "city": text("b", "a", "", "b", "c", "b", "x", "x", "x", "x"),
        }
        target = np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 1e6, 1e6, 1e6, 1e6])
        return dataclasses.replace(Table(columns, target, "price", "regression", "homes.csv", first_line=2), **changes)

    return make


@pytest.fixture
def reviews(homes: Callable[..., Table]) -> Callable[[], Table]:
    """Makes a table of the same cities, and reviews of them of several words each."""
    words = text("b a b", "a", "", "c  b", "a\ta b", "b", "z a", "y", "x", "w")
    return lambda: homes(columns={"review": words, "city": homes().columns["city"]})
