"""Reading the config's data set, and the column that weights its rows."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tfrun.config.column_kinds import CategoryKind, ImageKind, NumberKind
from tfrun.config.data_settings import DataSettings, HashEncoding
from tfrun.data.kinds import NumberColumn
from tfrun.data.labels import label
from tfrun.data.preprocessing import Preprocessing, fit
from tfrun.data.sources import load_table
from tfrun.data.table import Table, Target
from tfrun.data.targets import FittedTarget
from tfrun.errors import DataError


def settings(**changes: Any) -> DataSettings:
    values: dict[str, Any] = {
        "name": "homes",
        "params": {},
        "batch_size": 2,
        "validation_split": 0.2,
        "test_split": 0.1,
        "split_seed": 0,
        "target_scaling": "standard",
        "residency": "auto",
        "limit_rows": None,
        "sample_weight": None,
        "missing_target": "error",
        "text": {},
    }
    return DataSettings(**values | changes)


def catalog(read: Callable[..., Table], *params: str) -> Any:
    """Returns a catalog whose one data set is the given function."""
    component = SimpleNamespace(
        params=[SimpleNamespace(name=name) for name in params], load=lambda: read, origin="mine.py:1"
    )
    return SimpleNamespace(get=lambda kind, name, where: component)


def test_a_data_set_gets_its_own_parameters(homes: Callable[..., Table]) -> None:
    received: dict[str, Any] = {}

    def read(path: str, limit: int = 3) -> Table:
        received.update(path=path, limit=limit)
        return homes()

    table = load_table(settings(params={"path": "a.csv", "task": "auto"}), catalog(read, "path", "limit"))
    assert received == {"path": "a.csv", "limit": 3}
    assert list(table.columns) == ["size", "flat", "city"]


def test_a_data_set_gets_the_encodings_and_the_need_for_targets_if_it_accepts_them(homes: Callable[..., Table]) -> None:
    received: dict[str, Any] = {}

    def read(text_encodings: Any, column_kinds: Any, rows_only: bool, trained_columns: Any) -> Table:
        received.update(text_encodings=text_encodings, column_kinds=column_kinds)
        received.update(rows_only=rows_only, trained_columns=trained_columns)
        return homes()

    kinds = {"size": NumberKind(scale="none"), "flat": CategoryKind()}
    load_table(settings(text={"city": HashEncoding(bins=4)}, kinds=kinds), catalog(read), rows_only=True)
    assert received == {
        "text_encodings": {
            "city": {"name": "hash", "bins": 4},
            "flat": {"name": "category", "max_ids": None, "min_count": 1},
        },
        "column_kinds": {"city": "hashed", "size": "number", "flat": "category"},
        "rows_only": True,
        "trained_columns": None,
    }


def test_numbers_are_texts_if_their_kind_needs_texts(homes: Callable[..., Table]) -> None:
    size = np.array([1.0, 2.5, np.nan, -0.0, 80331.0, 1e20, 0.1, 3.0, 3.0, 3.0])
    table = homes(columns={"size": size, "flat": size})
    kinds = {"size": CategoryKind()}
    read = load_table(settings(kinds=kinds), catalog(lambda: table))
    as_in_csv = ["1", "2.5", "", "0", "80331", "100000000000000000000", "0.1", "3", "3", "3"]
    assert read.columns["size"].tolist() == as_in_csv and read.columns["flat"] is size
    fitted = fit(read, np.arange(10), scale_target=False, kinds=kinds)
    assert load_table(settings(kinds=kinds), catalog(lambda: table), fitted=fitted).columns["size"][4] == "80331"


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({"citi": CategoryKind()}, r"homes.csv: data.kinds: no such column. .*'citi'. Known: size, .*mean 'city'"),
        ({"city": NumberKind()}, "^homes.csv:2, column 'city': data.kinds.city: the kind number needs numbers. .*'b'"),
        ({"size": ImageKind()}, "^homes.csv: data.kinds.size: the kind image needs arrays. Received: numbers"),
    ],
)
def test_kinds_that_columns_can_not_be_of_are_an_error(
    kinds: dict[str, Any], message: str, homes: Callable[..., Table]
) -> None:
    with pytest.raises(DataError, match=message):
        load_table(settings(kinds=kinds), catalog(homes))


def test_the_column_of_weights_is_no_input(homes: Callable[..., Table]) -> None:
    whole = homes()
    table = load_table(settings(sample_weight="flat"), catalog(lambda: whole))
    assert list(table.columns) == ["size", "city"]
    assert table.weights is not None
    assert (table.weights.dtype.name, table.weights.tolist()) == ("float64", [3.0] * 10)
    assert list(whole.columns) == ["size", "flat", "city"]  # the data set's own table is left as it is


def test_rows_to_predict_need_no_weights(homes: Callable[..., Table]) -> None:
    table = load_table(settings(sample_weight="weight"), catalog(homes), rows_only=True)
    assert table.weights is None


@pytest.mark.parametrize(
    ("name", "cells", "message"),
    [
        (
            "flet",
            [1.0] * 10,
            "homes.csv: data.sample_weight: no such column. Received: 'flet'. Known: size, flat,",
        ),
        ("flet", [1.0] * 10, "Did you mean 'flat'"),
        ("city", [1.0] * 10, "must be a column of numbers. Received: 'city'"),
        ("flat", [1.0, 0.0, -2.0, *[1.0] * 7], "homes.csv:4, column 'flat': a weight must be >= 0. Received: -2"),
        ("flat", [*[1.0] * 9, np.nan], "homes.csv:11, column 'flat': a weight must be >= 0. Received: nan"),
    ],
)
def test_wrong_weights_are_an_error(name: str, cells: list[float], message: str, homes: Callable[..., Table]) -> None:
    table = homes(columns=homes().columns | {"flat": np.array(cells)})
    with pytest.raises(DataError, match=message):
        load_table(settings(sample_weight=name), catalog(lambda: table))


@pytest.fixture
def fitted(homes: Callable[..., Table], train: np.ndarray) -> Preprocessing:
    """What a run learns from the table with a target of classes beside the price."""
    kinds = Target(np.array(list("0101011111"), dtype=object), "classification")
    return fit(homes(others={"kind": kinds}), train, scale_target=True)


def read_again(homes: Callable[..., Table], fitted: Preprocessing, *, kinds: Any = None, **columns: Any) -> Table:
    """Returns the table as a run reads it again, from a data set that guesses what columns are."""
    kinds = np.array(["1"] * 10, dtype=object) if kinds is None else kinds
    others = {"kind": Target(kinds, "classification" if kinds.dtype == object else "regression")}
    table = homes(columns=homes().columns | columns, others=others)
    return load_table(settings(), catalog(lambda: table), fitted=fitted)


def test_columns_without_a_value_are_of_the_kind_they_were(homes: Callable[..., Table], fitted: Preprocessing) -> None:
    empty = {"size": np.array([""] * 10, dtype=object), "city": np.full(10, np.nan)}
    columns = read_again(homes, fitted, **empty, more=np.ones(10)).columns
    assert list(columns) == ["size", "flat", "city"]  # in the table's order: the fingerprint depends on it
    assert np.isnan(columns["size"]).all() and columns["city"].tolist() == [""] * 10


def test_labels_are_the_run_s_classes(homes: Callable[..., Table], fitted: Preprocessing) -> None:
    for kinds in (np.ones(10), np.array(["1.0"] * 10, dtype=object)):
        target = read_again(homes, fitted, kinds=kinds).others["kind"]
        assert (target.task, [label(value) for value in target.values]) == ("classification", ["1"] * 10)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"size": np.array(["", "big"] * 5, dtype=object)},
            "3, column 'size': must be a number, as in .*'big'",
        ),
        ({"city": np.array([1.0] * 10)}, " column 'city' must hold texts, as in training"),
        ({"size": np.ones((10, 2))}, " column 'size' must hold numbers"),
    ],
)
def test_columns_of_another_kind_are_an_error(
    columns: dict[str, Any], message: str, homes: Callable[..., Table], fitted: Preprocessing
) -> None:
    with pytest.raises(DataError, match=f"^homes.csv:{message}"):
        read_again(homes, fitted, **columns)


def test_targets_of_another_kind_are_an_error(homes: Callable[..., Table], fitted: Preprocessing) -> None:
    table = homes()
    with pytest.raises(DataError, match=r"homes.csv: the run has 2 targets. Received: price"):
        load_table(settings(), catalog(lambda: table), fitted=fitted)
    others = {"kind": Target(table.target, "regression")}
    wrong = homes(others=others, target=np.array(["high"] * 10, dtype=object), task="classification")
    with pytest.raises(DataError, match="target 'price' must hold numbers, as it did in training. Received: 'high'"):
        load_table(settings(), catalog(lambda: wrong), fitted=fitted)


def test_arrays_have_the_shape_they_had(homes: Callable[..., Table], train: np.ndarray) -> None:
    fitted = fit(homes(columns={"image": np.ones((10, 2, 2))}), train, scale_target=True)
    other = homes(columns={"image": np.ones((10, 2, 3))})
    with pytest.raises(
        DataError, match=r"column 'image' must hold arrays of the shape \(2, 2\), as in training. Received: \(2, 3\)"
    ):
        load_table(settings(), catalog(lambda: other), fitted=fitted)


def test_rows_without_a_target_may_have_no_weight_either(homes: Callable[..., Table]) -> None:
    """A data set of a plugin may have them too."""
    target = np.where(np.arange(10) == 4, np.nan, 1.0)
    columns = homes().columns | {"flat": target}
    table = load_table(
        settings(sample_weight="flat", missing_target="drop"), catalog(lambda: homes(target=target, columns=columns))
    )
    assert table.weights is not None and table.weights.tolist() == [1.0] * 9
    with pytest.raises(DataError, match="homes.csv:6, column 'price': the target is empty. Received: 'nan'"):
        load_table(settings(), catalog(lambda: homes(target=target)))


def test_classes_of_an_earlier_run_are_found_by_their_numbers(homes: Callable[..., Table]) -> None:
    """It read 007 as the class 7, and a run of this version doesn't."""
    labels = np.array(["007", "7", "010", "10", "7.0"] * 2, dtype=object)
    table = homes(target=labels, task="classification", columns={"flat": np.ones(10)})
    for spelt_as_read, expected in ((False, ["7", "7", "10", "10", "7"]), (True, ["007", "7", "010", "10", "7"])):
        known = FittedTarget("classification", ["10", "7"], spelt_as_read=spelt_as_read)
        column = NumberColumn("flat", 1.0, 1.0, 0.0, ())
        earlier = Preprocessing(columns=(column,), targets={"output": known})
        found = load_table(settings(), catalog(lambda: table), fitted=earlier)
        assert found.target.tolist() == expected * 2
