"""Rows in any order become series, each from its oldest to its newest row."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from tfrun.config.data_settings import WindowSettings
from tfrun.data.series import as_series
from tfrun.data.series_times import times_after
from tfrun.data.table import Table
from tfrun.errors import DataError

WINDOW = WindowSettings(length=2, horizon=1, by="shop", time="day")


def sales(day: Any, shop: Any = None, **changes: Any) -> Table:
    """Returns a table of a row for each day; row k has the target k."""
    num_rows = len(day)
    keys = {"day": np.array(day, object), "shop": np.array(shop or ["a"] * num_rows, object)}
    columns = {"price": 10.0 * np.arange(num_rows)}
    changes = {"keys": keys, **changes}
    return Table(columns, np.arange(num_rows, dtype="float64"), "sold", "regression", "sales.csv", 2, **changes)


@pytest.mark.parametrize(
    "day",
    [
        ["3", "1", "10", "2", "1", "2.5"],  # as numbers, 10 comes last
        ["2024-03-01", "2024-01-31", "2024-10-01", "2024-02-01", "2024-01-31", "2024-02-15"],
        ["2024-03", "2024-01", "2024-10", "2024-02", "2024-01", "2024-05"],
        ["2024-01-01T12:00", "2024-01-01 02:00", "2024-01-02", "2024-01-01T03:00:00", "2024-01-01", "2024-01-01T01:00"],
    ],
)
def test_rows_are_sorted_by_series_and_time(day: list[str]) -> None:
    table = as_series(sales(day, ["b", "b", "b", "b", "a", "a"]), WINDOW)
    assert table.target.tolist() == [4, 5, 1, 3, 0, 2]
    assert {name: cells.tolist() for name, cells in table.columns.items()} == {
        "sold": [4, 5, 1, 3, 0, 2],  # the target's own past comes first
        "price": [40, 50, 10, 30, 0, 20],
    }
    assert table.series is not None and table.series.bounds.tolist() == [0, 2, 6]
    assert table.series.names == ("a", "b")
    assert table.series.times is not None and table.series.times.tolist() == [day[k] for k in (4, 5, 1, 3, 0, 2)]
    assert table.find(0)[0] == "sales.csv:6"  # rows are still found where they were read


def test_without_columns_the_rows_are_one_series_as_they_lie() -> None:
    table = as_series(sales(["x"] * 4, keys={}), WindowSettings(length=2, horizon=1))
    assert table.target.tolist() == [0, 1, 2, 3]
    assert table.series is not None and table.series.bounds.tolist() == [0, 4]


def test_series_without_times_keep_the_order_of_their_rows() -> None:
    table = as_series(sales(["x"] * 4, ["b", "a", "b", "a"]), WindowSettings(length=2, horizon=1, by="shop"))
    assert table.target.tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize(
    ("day", "shop", "message"),
    [
        (["1", "2", "1"], ["a", "a", "a"], r"sales.csv:4, column 'day': a series can have one row for each time.*'1'"),
        (["1", "2", ""], None, r"sales.csv:4, column 'day' \(data.window.time\): is empty"),
        (["1", "2", "soon"], None, r"sales.csv:4.*must be a number, or a date such as 2024-01-31. Received: 'soon'"),
        (["1", "2", "3"], ["a", "", "a"], r"sales.csv:3, column 'shop': is empty, so nobody knows the row's series"),
    ],
)
def test_cells_that_give_no_order_are_refused(day: list[str], shop: list[str] | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_series(sales(day, shop), WINDOW)


def test_a_target_of_classes_is_refused() -> None:
    table = sales(["1", "2"])
    table = Table({}, np.array(["x", "y"], object), "sold", "classification", "sales.csv", keys=table.keys)
    with pytest.raises(DataError, match="forecasts numbers, and the target 'sold' has classes"):
        as_series(table, WINDOW)


@pytest.mark.parametrize(
    ("day", "num_gaps"),
    [
        (["1", "2", "3", "4"], 0),
        (["1", "2", "5", "6"], 1),
        (["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"], 0),  # months differ a little
        (["2024-01-31", "2024-02-29", "2024-05-31", "2024-06-30", "2024-07-31"], 1),
    ],
)
def test_gaps_are_told(day: list[str], num_gaps: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        as_series(sales(day), WINDOW)
    assert len(caplog.messages) == (num_gaps > 0)
    assert num_gaps == 0 or f"{num_gaps} of {len(day) - 1} steps between rows" in caplog.messages[0]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["1", "2", "3"], ["4", "5"]),
        (["0.5", "0.75", "1.00"], ["1.25", "1.50"]),
        (["1949", "1949.0833", "1949.1667", "1949.25"], ["1949.3333", "1949.4167"]),
        ([1.0, 3.0, 5.0], [7.0, 9.0]),
        (["2024-02-27", "2024-02-28"], ["2024-02-29", "2024-03-01"]),
        (["2023-11", "2023-12"], ["2024-01", "2024-02"]),
        (["2023-11-30", "2023-12-31", "2024-01-31"], ["2024-02-29", "2024-03-31"]),
        (["2023-10-15", "2023-11-15", "2023-12-15"], ["2024-01-15", "2024-02-15"]),
        (["2023-01-01", "2024-01-01", "2025-01-01"], ["2026-01-01", "2027-01-01"]),
        (["2024-01-31T22:00", "2024-01-31T23:00"], ["2024-02-01T00:00", "2024-02-01T01:00"]),
        (["2024-01-31 22:00:00Z", "2024-01-31 23:30:00Z"], ["2024-02-01 01:00:00Z", "2024-02-01 02:30:00Z"]),
        (["1", "2", "4"], None),
        (["2024-01-01", "2024-01-02", "2024-01-04"], None),
        (["1"], None),
    ],
)
def test_regular_times_go_on(times: list[Any], expected: list[Any] | None) -> None:
    assert times_after(times, 2) == expected
