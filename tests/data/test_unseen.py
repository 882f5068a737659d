"""Rows whose texts a run knows nothing of are counted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfrun.config.column_kinds import CategoryKind
from tfrun.data.preprocessing import fit
from tfrun.data.table import Table
from tfrun.data.unseen import describe_unseen, unseen_rows


def test_rows_with_unseen_texts_are_counted_for_each_column(homes: Callable[..., Table], train: np.ndarray) -> None:
    fitted = fit(homes(), train, scale_target=False)
    unseen = unseen_rows(homes(), fitted)
    assert {name: rows.tolist() for name, rows in unseen.items()} == {"city": [False] * 6 + [True] * 4}
    assert list(describe_unseen({"city": 4}, 10, preprocessing=fitted, kinds={})) == [
        "column 'city': 4 of 10 rows have values that the training rows don't have: they count as empty"
    ]
    assert list(describe_unseen({"city": 0}, 6, preprocessing=fitted, kinds={})) == []  # an empty cell is no value
    kinds = {"city": CategoryKind(max_ids=2)}
    of = "column 'city': 1 of 1 rows have values that aren't among the most frequent of the training rows"
    lines = describe_unseen({"city": 1}, 1, preprocessing=fitted, kinds=kinds)
    assert [line.startswith(of) for line in lines] == [True]


def test_a_column_of_another_kind_has_no_unseen_texts(homes: Callable[..., Table], train: np.ndarray) -> None:
    fitted = fit(homes(), train, scale_target=False)
    assert unseen_rows(homes(columns=homes().columns | {"city": np.zeros(10)}), fitted) == {}
