"""Which rows are trained on, validated on and tested on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfrun.data.split import cover_classes, split_rows
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
    with pytest.raises(DataError, match="Received: 3 rows, of which 1 are for validation and 2 for the test. Lower"):
        split_rows(3, **SPLIT | {"validation_split": 0.4, "test_split": 0.59})


def test_every_class_gets_a_training_row_for_any_seed() -> None:
    """c11: one row of a hundred has a class of its own; it was in the validation or test rows for a fifth of seeds."""
    labels = np.array(["rare" if k == 37 else "eo"[k % 2] for k in range(100)], dtype=object)
    changed = 0
    for seed in range(30):
        splits = split_rows(100, **SPLIT | {"seed": seed})
        covered, moved = cover_classes(splits, {"kind": labels}, source="rows.csv")
        assert 37 in covered["train"]
        assert sorted(np.concatenate(list(covered.values())).tolist()) == list(range(100))
        assert {name: len(rows) for name, rows in covered.items()} == {"train": 70, "val": 20, "test": 10}
        if 37 in splits["train"]:
            assert all(covered[name].tolist() == splits[name].tolist() for name in splits)
            assert moved == ()
        else:
            changed += 1
            assert int((covered["train"] != splits["train"]).sum()) == 1
            assert moved == (
                "rows.csv: target 'kind': the split left no training row for class 'rare', so one was moved there",
            )
    assert changed > 3


def test_classes_of_several_targets_are_covered_together() -> None:
    splits = {"train": np.arange(4), "val": np.array([4, 5]), "test": np.array([6])}
    first = np.array(["a", "a", "a", "b", "c", "a", "a"], dtype=object)
    second = np.array(["x", "x", "y", "x", "x", "z", "x"], dtype=object)
    covered, _ = cover_classes(splits, {"first": first, "second": second}, source="")
    # c trades with the last row whose classes have others: 1 (3 is the only b, 2 the only y); z with 0 then
    assert covered["train"].tolist() == [5, 4, 2, 3]
    assert covered["val"].tolist() == [1, 0]
    assert covered["test"].tolist() == [6]


def test_a_row_that_limit_rows_leaves_out_is_taken_first() -> None:
    labels = np.array(["a", "a", "b", "b"], dtype=object)
    splits = {"train": np.array([0, 1]), "val": np.array([2]), "test": np.arange(0)}
    covered, _ = cover_classes(splits, {"kind": labels}, source="")
    assert covered["train"].tolist() == [0, 3]
    assert covered["val"].tolist() == [2]


def test_more_classes_than_training_rows_are_an_error() -> None:
    labels = np.array(["a", "b", "c"], dtype=object)
    splits = {"train": np.array([0, 1]), "val": np.array([2]), "test": np.arange(0)}
    with pytest.raises(DataError, match="rows.csv: target 'kind': class 'c' can't be put into the training rows"):
        cover_classes(splits, {"kind": labels}, source="rows.csv")
