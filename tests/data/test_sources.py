"""Reading the config's data set, and the column that weights its rows."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tfrun.config.settings import DataSettings, HashEncoding
from tfrun.data.sources import load_table
from tfrun.data.table import Table
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
        "text": {},
    }
    return DataSettings(**values | changes)


def catalog(read: Callable[..., Table], *params: str) -> Any:
    """Returns a catalog whose one data set is the given function."""
    component = SimpleNamespace(params=[SimpleNamespace(name=name) for name in params], load=lambda: read)
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

    def read(text_encodings: dict[str, Any], rows_only: bool) -> Table:
        received.update(text_encodings=text_encodings, rows_only=rows_only)
        return homes()

    load_table(settings(text={"city": HashEncoding(bins=4)}), catalog(read), rows_only=True)
    assert received == {"text_encodings": {"city": {"name": "hash", "bins": 4}}, "rows_only": True}


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
