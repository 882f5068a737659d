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


def test_a_table_that_was_encoded_is_no_longer_taken_for_its_rows(homes: Callable[..., Table]) -> None:
    table = homes()
    table.require_columns()
    table.release("size")
    with pytest.raises(RuntimeError, match="homes.csv: columns were released already: size"):
        table.require_columns()


def test_the_main_target_is_the_first(homes: Callable[..., Table]) -> None:
    height = Target(np.zeros(10), "regression")
    table = homes(others={"height": height})
    assert list(table.targets) == ["price", "height"]
    assert table.targets["price"].values is table.target
    assert table.targets["height"] is height


def test_a_row_is_found_by_its_line(homes: Callable[..., Table]) -> None:
    assert homes().find(3, "size") == ("homes.csv:5", None)
    located = homes(locate=lambda row, name: (f"homes.csv:{10 * row}", name))
    assert located.find(3, "size") == ("homes.csv:30", "size")

    def gone(row: int, name: str | None) -> tuple[str, str]:
        raise FileNotFoundError

    assert homes(locate=gone).find(3) == ("homes.csv:5", None)


def test_selected_rows(homes: Callable[..., Table]) -> None:
    """They are found at their old lines, and their columns are released from the table that they came from."""
    whole = homes(weights=np.arange(10.0), others={"height": Target(np.arange(10.0), "regression")})
    table = whole.select(np.array([1, 4]))
    assert table.columns["city"].tolist() == ["a", "c"]
    assert table.columns["size"].tolist() == [2.0, 5.0]
    assert table.target.tolist() == [4.0, 5.0]
    assert table.weights is not None and table.weights.tolist() == [1.0, 4.0]
    assert table.others["height"].values.tolist() == [1.0, 4.0]
    assert [table.find(row)[0] for row in (0, 1)] == ["homes.csv:3", "homes.csv:6"]
    assert whole.columns == {}
    table.require_columns()
