"""Windows of series: which rows each has, and which split it is in. Small enough to write down."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tfrun.config.data_settings import DataSettings, SplitSettings, WindowSettings
from tfrun.data.arrays import take
from tfrun.data.examples import prepare, prepare_evaluation
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.series import as_series
from tfrun.data.table import Table
from tfrun.data.window_array import WindowArray
from tfrun.data.windows import split_windows
from tfrun.errors import DataError

DATA = DataSettings(
    "sales",
    {},
    batch_size=2,
    validation_split=0.2,
    test_split=0.2,
    split_seed=0,
    target_scaling="standard",
    residency="auto",
    limit_rows=None,
    sample_weight=None,
    missing_target="error",
    text={},
    window=WindowSettings(length=3, horizon=2, by="shop"),
)


def data(length: int = 3, horizon: int = 2, *, stride: int = 1, **changes: Any) -> DataSettings:
    window = WindowSettings(length=length, horizon=horizon, by="shop", stride=stride)
    return dataclasses.replace(DATA, window=window, **changes)


def sales(*lengths: int, **changes: Any) -> Table:
    """Returns series a, b, … of these lengths; row k of all has the target k² and the price 10·k."""
    num_rows = sum(lengths)
    shop = np.repeat(np.array([*"abcdefgh"][: len(lengths)], object), lengths)
    price = 10.0 * np.arange(num_rows)
    target = np.arange(num_rows, dtype="float64") ** 2
    table = Table({"price": price}, target, "sold", "regression", "sales.csv", keys={"shop": shop}, **changes)
    return as_series(table, data().window or WindowSettings(1, 1))


def starts(table: Table, settings: DataSettings) -> dict[str, list[int]]:
    """Returns the first rows of each split's windows."""
    windows = split_windows(table, settings)
    return {name: windows.starts[numbers].tolist() for name, numbers in windows.rows.items()}


def test_each_series_is_split_by_time() -> None:
    # Of 20 rows, 0 to 11 are trained on, 12 to 15 validate, 16 to 19 test; of the next 10, 20 to 25, 26 27 and 28 29.
    # A window has 3 rows and the targets of the 2 after them.
    assert starts(sales(20, 10), data()) == {
        "train": [0, 1, 2, 3, 4, 5, 6, 7, 20, 21],
        "val": [9, 10, 11, 23],  # targets in 12 13, 13 14, 14 15 and 26 27: they look back into training rows
        "test": [13, 14, 15, 25],
    }
    assert split_windows(sales(20, 10), data()).training_rows.tolist() == [*range(12), *range(20, 26)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (data(stride=2), {"train": [1, 3, 5, 7, 21], "val": [9, 11, 23], "test": [13, 15, 25]}),
        (data(validation_split=0.0), {"train": [*range(12), 20, 21, 22, 23], "val": [], "test": [13, 14, 15, 25]}),
        (data(length=1, horizon=4), {"train": [*range(8), 20, 21], "val": [11], "test": [15]}),
    ],
)
def test_windows_by_other_settings(settings: DataSettings, expected: dict[str, list[int]]) -> None:
    assert starts(sales(20, 10), settings) == expected


def test_fewer_training_windows_are_drawn_by_the_seed_of_the_split() -> None:
    all_of_them = starts(sales(20, 10), data())
    few = starts(sales(20, 10), data(limit_rows=4))
    assert len(few["train"]) == 4 and set(few["train"]) < set(all_of_them["train"])
    assert few["train"] == starts(sales(20, 10), data(limit_rows=4))["train"]
    assert few["train"] != starts(sales(20, 10), data(limit_rows=4, split_seed=1))["train"]
    assert few["val"] == all_of_them["val"]


def test_no_window_crosses_a_split_or_a_series() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        lengths = generator.integers(1, 60, size=generator.integers(1, 8)).tolist()
        length, horizon, stride = (int(number) for number in generator.integers(1, 6, size=3))
        table = sales(60, *lengths)
        assert table.series is not None
        settings = data(length, horizon, stride=stride)
        found = starts(table, settings)
        of_series = np.repeat(np.arange(1 + len(lengths)), [60, *lengths])
        targets = {}
        for name, rows in found.items():
            targets[name] = {start + length + k for start in rows for k in range(horizon)}
            for start in rows:
                assert len(set(of_series[start : start + length + horizon])) == 1
        assert not targets["train"] & targets["val"] and not targets["val"] & targets["test"]
        assert not targets["train"] & targets["test"]
        for name, later in (("train", "val"), ("train", "test"), ("val", "test")):
            seen = {start + k for start in found[name] for k in range(length)} | targets[name]
            assert not seen & targets[later]
            for series in set(of_series[list(seen)]):
                newest = max(row for row in seen if of_series[row] == series)
                assert all(newest < row for row in targets[later] if of_series[row] == series)


def test_other_rules_say_of_each_row_which_split_it_is_in() -> None:
    cells = np.array(["train"] * 10 + ["test"] * 10 + ["val"] * 10, object)
    table = dataclasses.replace(sales(20, 10), split_cells=cells)
    by_column = data(split=SplitSettings("column", "part"))
    assert starts(table, by_column) == {
        "train": [0, 1, 2, 3, 4, 5],
        "val": [20, 21, 22, 23, 24, 25],
        "test": [7, 8, 9, 10, 11, 12, 13, 14, 15],
    }
    assert split_windows(table, by_column).rule == {"by": "column", "column": "part"}
    table = sales(20, 10, given={"val": np.arange(26, 30)})
    assert starts(table, data(test_split=0.0)) == {"train": [*range(16), 20, 21], "val": [23, 24, 25], "test": []}


def test_rows_after_a_fold_in_time_are_in_no_window_of_it() -> None:
    # rows 16 to 19 test, the others make four stretches: 0 to 7 are trained on, 8 to 11 validate, 12 to 15 do neither
    table = dataclasses.replace(sales(20), split_cells=np.arange(20.0))
    of_fold = data(split=SplitSettings("time", "day"), folds=3, fold=1)
    assert starts(table, of_fold) == {"train": [0, 1, 2, 3], "val": [5, 6, 7], "test": [13, 14, 15]}


def test_series_that_are_too_short_are_left_out() -> None:
    windows = split_windows(sales(20, 4, 10), data())
    assert windows.notes == ("data.window: 1 of 3 series are shorter than 5 rows and left out ('b'), with 4 rows",)
    with pytest.raises(DataError, match="needs 5 rows of a series, and the longest of 2 series has 4"):
        split_windows(sales(4, 3), data())
    with pytest.raises(DataError, match="data.validation_split: the val rows of a series must hold the 5 targets"):
        split_windows(sales(20), data(horizon=5))
    with pytest.raises(DataError, match="no window of length 12 and horizon 2 fits into the training rows"):
        split_windows(sales(20), data(length=12))


def test_examples_are_windows_of_rows_that_lie_in_memory_once() -> None:
    examples = prepare(sales(20, 10), data())
    inputs, targets = examples.inputs, examples.targets
    assert isinstance(inputs, WindowArray) and isinstance(targets, WindowArray)
    assert (inputs.shape, targets.shape, inputs.values.shape) == ((18, 3, 2), (18, 2), (30, 2))
    rows = [*range(12), *range(20, 26)]  # those that are trained on
    mean, deviation = np.mean(np.array(rows) ** 2.0), np.std(np.array(rows) ** 2.0)
    expected = (np.arange(30) ** 2 - mean) / deviation
    price = (np.arange(30) - np.mean(rows)) / np.std(rows)
    every = np.arange(18)
    sliding = np.lib.stride_tricks.sliding_window_view
    np.testing.assert_allclose(targets[every], sliding(expected, 2)[inputs.starts + 3], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(inputs[every][..., 0], sliding(expected, 3)[inputs.starts], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(inputs[every][..., 1], sliding(price, 3)[inputs.starts], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(take(inputs, np.array([3, 1]), dtype=np.float32), inputs[np.array([3, 1])])  # type: ignore[arg-type]


def test_an_unscaled_target_has_an_unscaled_past() -> None:
    examples = prepare(sales(20, 10), data(target_scaling="none"))
    np.testing.assert_array_equal(examples.inputs[np.array([0])][0, :, 0], [0, 1, 4])
    np.testing.assert_array_equal(examples.targets[np.array([0])], [[9, 16]])


def test_the_preprocessing_knows_the_windows() -> None:
    fitted = prepare(sales(20, 10), data()).preprocessing
    assert Preprocessing.from_json(fitted.to_json()) == fitted
    assert fitted.features.arrays == {"window": (3, 2)}
    assert fitted.features.window == ("sold", "price")
    assert fitted.num_outputs == 2
    trained = fitted.trained_columns(None)
    assert (trained.numbers, trained.targets) == (("price",), (None,))


def test_other_rows_are_all_tested_or_forecast() -> None:
    fitted = prepare(sales(20, 10), data()).preprocessing
    examples = prepare_evaluation(sales(7, 3, 5), fitted)
    assert examples.inputs.starts.tolist() == [0, 1, 2, 10]
    assert examples.splits["test"].tolist() == [0, 1, 2, 3]
    examples = prepare_evaluation(sales(7, 2, 3), fitted, forecasts=True)
    assert examples.inputs.starts.tolist() == [4, 9]  # the series of 2 rows has too few
    with pytest.raises(DataError, match="window of length 3 needs 3 rows of a series"):
        prepare_evaluation(sales(2, 1), fitted, forecasts=True)


def test_other_kinds_of_columns_are_refused() -> None:
    table = sales(20, 10)
    table.columns["town"] = np.array(["x"] * 30, object)
    with pytest.raises(DataError, match=r"windows are of numbers. Received: town.*'?data.exclude=\[town\]'?"):
        prepare(table, data())
