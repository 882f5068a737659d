"""Which rows are trained on, validated on and tested on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfrun.data.split import split_rows
from tfrun.errors import DataError

SPLIT: dict[str, Any] = {"validation_split": 0.2, "test_split": 0.1, "seed": 0}


def test_rows_are_shuffled_once_and_cut() -> None:
    splits = split_rows(100, **SPLIT)
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 70, "val": 20, "test": 10}
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(100))
    assert splits["test"].tolist() != sorted(splits["test"].tolist())
    assert all(rows.dtype == np.int32 for rows in splits.values())


def test_the_split_of_a_seed_stays_the_same_for_ever() -> None:
    splits = split_rows(10, **SPLIT)
    assert {name: rows.tolist() for name, rows in splits.items()} == {
        "test": [4],
        "val": [6, 2],
        "train": [7, 3, 5, 9, 0, 8, 1],
    }


def test_the_split_depends_on_the_seed_alone() -> None:
    again = split_rows(100, **SPLIT)
    other = split_rows(100, **SPLIT | {"seed": 1})
    for name, rows in split_rows(100, **SPLIT).items():
        assert rows.tolist() == again[name].tolist() != other[name].tolist()


def test_validation_and_test_rows_may_be_none() -> None:
    splits = split_rows(10, **SPLIT | {"validation_split": 0.0, "test_split": 0.0})
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 10, "val": 0, "test": 0}


def test_limit_rows_cuts_the_training_rows_alone() -> None:
    whole = split_rows(100, **SPLIT)
    limited = split_rows(100, **SPLIT | {"limit_rows": 7})
    assert limited["train"].tolist() == whole["train"][:7].tolist()
    assert limited["val"].tolist() == whole["val"].tolist()
    assert limited["test"].tolist() == whole["test"].tolist()


def test_a_split_without_training_rows_is_an_error() -> None:
    with pytest.raises(DataError, match="no rows are left for training. Received: 3 rows, 1 val, 2 test"):
        split_rows(3, **SPLIT | {"validation_split": 0.4, "test_split": 0.59})
