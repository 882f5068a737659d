"""A table gives its columns away once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tfrun.data.table import Table, Target


def test_a_released_column_is_gone_from_the_table(homes: Callable[..., Table]) -> None:
    table = homes()
    size = table.columns["size"]
    assert table.release("size") is size
    assert list(table.columns) == ["flat", "city"]


def test_the_first_rows_are_copies(homes: Callable[..., Table]) -> None:
    table = homes()
    head = table.head(3)
    table.columns["flat"][0] = -1.0
    np.testing.assert_array_equal(head["size"], [1.0, 2.0, np.nan])
    assert head["flat"].tolist() == [3.0, 3.0, 3.0]
    assert head["city"].tolist() == ["b", "a", ""]


def test_a_table_that_was_encoded_is_no_longer_taken_for_its_rows(homes: Callable[..., Table]) -> None:
    table = homes()
    table.require_columns()
    table.release("size")
    with pytest.raises(RuntimeError, match="homes.csv: columns were released already: size"):
        table.head(3)


def test_the_main_target_is_the_first(homes: Callable[..., Table]) -> None:
    height = Target(np.zeros(10), "regression")
    table = homes(others={"height": height})
    assert list(table.targets) == ["price", "height"]
    assert table.targets["price"].values is table.target
    assert table.targets["height"] is height
