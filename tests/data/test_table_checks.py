"""What a data set returns is checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfrun.data.arrays import StoredArray
from tfrun.data.table import Table, Target
from tfrun.data.table_checks import check_table, without_missing_targets
from tfrun.errors import DataError

TEN = np.arange(10.0)
LABELS = np.array(["u", "v"] * 5, dtype=object)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": {}}, "there are no columns"),
        ({"columns": {"a": TEN[:7]}}, "column 'a': has 7 rows, and the target has 10"),
        ({"columns": {"a": TEN.tolist()}}, r"column 'a': must be an array .*Received: list"),
        ({"columns": {"a": np.float64(1)}}, "must be an array"),
        ({"columns": {"a": np.zeros((10, 0))}}, r"its rows have no values. Received: float64 \(10, 0\)"),
        ({"columns": {"a": np.array(["u"] * 10)}}, "object array of str. Received: <U1"),
        ({"columns": {"a": np.array([1.0, "u"] * 5, dtype=object)}}, "must be a str. Received: 1.0 in row 0"),
        ({"columns": {"a": np.array(["u", None] * 5, dtype=object)}}, "must be a str. Received: None in row 1"),
        ({"columns": {"a": np.where(TEN == 4, -np.inf, TEN)}}, "homes.csv:6, column 'a': not finite. Received: -inf"),
        ({"columns": {"a": TEN.astype(complex)}}, "must be numbers"),
        ({"target": TEN[:, None]}, r"target 'price': must be an array \(N,\). Received: float64 \(10, 1\)"),
        ({"target": TEN[:5]}, "column 'size': has 10 rows, and the target has 5"),
        ({"target": np.where(TEN == 4, np.inf, TEN)}, "homes.csv:6: target 'price' isn't finite. Received: inf"),
        ({"target": LABELS}, "regression needs numbers"),
        ({"target": np.array(["u", 1] * 5, dtype=object), "task": "classification"}, "must be a str. Received: 1"),
        ({"task": "clustering"}, "must be regression or classification. Received: 'clustering'"),
        ({"others": {"b": Target(TEN[:4], "regression")}}, "target 'b': has 4 values, and 'price' has 10"),
        ({"weights": TEN[:4]}, "the weights: 4 of them, and 10 targets"),
        (
            {"weights": np.where(TEN == 4, np.nan, TEN)},
            "homes.csv:6, the weights: a weight must be >= 0. Received: nan",
        ),
        ({"weights": np.where(TEN == 4, np.inf, TEN)}, "a weight must be >= 0. Received: inf"),
        ({"weights": LABELS}, "the weights: must be numbers"),
    ],
)
def test_what_does_not_fit_is_one_line(homes: Callable[..., Table], changes: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        check_table(homes(**changes), "homes")
    assert "\n" not in str(caught.value)


def test_no_table_is_refused() -> None:
    with pytest.raises(DataError, match="data=mine: must return a tfrun.table.Table. Received: NoneType"):
        check_table(None, "mine")


def test_what_fits_is_returned(homes: Callable[..., Table]) -> None:
    columns = {"n": TEN, "bytes": np.zeros((10, 2), np.uint8), "whole": np.arange(10), "text": LABELS}
    for changes in ({"columns": columns}, {"target": LABELS, "task": "classification"}, {"weights": np.ones(10)}):
        table = homes(**changes)
        assert check_table(table, "homes") is table


def test_rows_without_a_target(homes: Callable[..., Table], caplog: Any) -> None:
    number = np.where((TEN == 2) | (TEN == 5), np.nan, TEN)
    labels = np.where(TEN == 7, "", LABELS).astype(object)
    with pytest.raises(DataError, match="homes.csv:4, column 'price': the target is empty. Received: 'nan' .2 such"):
        without_missing_targets(homes(target=number), "error")
    others = {"kind": Target(labels, "classification")}
    with pytest.raises(DataError, match="homes.csv:9, column 'kind': the target is empty. Received: ''"):
        without_missing_targets(homes(others=others), "error")
    table = without_missing_targets(homes(target=number, others=others), "drop")
    assert table.target.tolist() == [0, 1, 3, 4, 6, 8, 9]
    assert table.rows_left_out == 3
    assert table.source_rows(np.array([6, 2])).tolist() == [9, 3]
    assert homes().source_rows(np.array([6, 2])).tolist() == [6, 2]
    assert table.others["kind"].values.tolist() == ["u", "v", "v", "u", "u", "u", "v"]
    assert "homes.csv: 3 of 10 rows have no target and are left out" in caplog.text
    with pytest.raises(DataError, match="the target is empty"):
        without_missing_targets(homes(target=TEN * np.nan), "drop")
    complete = homes()
    assert without_missing_targets(complete, "drop") is complete


def test_rows_on_disk_stay_there(homes: Callable[..., Table], tmp_path: Any) -> None:
    images = np.arange(40.0).reshape(10, 4)
    (tmp_path / "x").write_bytes(images.tobytes())
    stored = StoredArray(str(tmp_path / "x"), 0, shape=(10, 4), dtype="float64")
    table = homes(columns={"x": stored}, target=np.where(TEN == 0, np.nan, TEN))
    kept = without_missing_targets(check_table(table, "images"), "drop")
    assert isinstance(kept.columns["x"], StoredArray)
    np.testing.assert_array_equal(kept.columns["x"], images[1:])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"valid": [1]}, "the rows of split 'valid': must be of train, val or test"),
        ({"val": [1.5]}, "must be whole numbers .R,.. Received: float64"),
        ({"val": [10]}, "must be from 0 to 9. Received: 10 to 10"),
        ({"val": [1, 2], "test": [2]}, "homes.csv:4: the row is in two of the table's splits"),
    ],
)
def test_splits_of_the_source_are_different_rows(
    given: dict[str, list[int]], message: str, homes: Callable[..., Table]
) -> None:
    with pytest.raises(DataError, match=message):
        check_table(homes(given={name: np.array(rows) for name, rows in given.items()}), "homes")
    rows = {"train": np.arange(8), "val": np.array([8]), "test": np.arange(0)}
    assert check_table(homes(given=rows), "homes").given == rows
