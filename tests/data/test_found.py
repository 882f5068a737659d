"""What there is in a data set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tfrun.data.found import Found, describe_ids, find
from tfrun.data.preprocessing import fit
from tfrun.data.table import Table


def homes() -> Table:
    return Table(
        {
            "area": np.array([50.0, np.nan, 70.0, 80.0]),
            "town": np.array(["Rom", "", "Oslo", "Rom"], dtype=object),
            "rooms": np.array([2.0, 3.0, 3.0, 4.0]),
        },
        np.array(["no", "no", "yes", "no"], dtype=object),
        "sold",
        "classification",
        "homes.csv",
    )


def test_columns_by_kind_empty_cells_and_classes() -> None:
    table = homes()
    found = find(table, fit(table, np.arange(4), scale_target=True))
    assert found == Found(
        columns={"number": ["area", "rooms"], "category": ["town (2)"]},
        filled={"area": 1, "town": 1},
        classes={"sold": {"no": 3, "yes": 1}},
    )


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        (np.arange(1.0, 31.0), "numbers the rows"),
        (np.arange(30.0)[::-1] * 7, "has another whole number in each row"),
        (np.arange(30.0) // 2, None),
        (np.arange(30.0) + 0.5, None),  # a measurement may differ in each row
        (np.where(np.arange(30) == 3, np.nan, np.arange(30.0)), None),
    ],
)
def test_columns_that_number_the_rows_are_pointed_out(cells: np.ndarray, what: str | None) -> None:
    table = replace(homes(), columns={"id": cells}, target=np.zeros(30))
    said = list(describe_ids(table))
    if what is None:
        assert said == []
    else:
        assert len(said) == 1 and what in said[0] and "data.exclude=[id]" in said[0]


def test_few_rows_may_all_differ() -> None:
    table = replace(homes(), columns={"id": np.arange(10.0)}, target=np.zeros(10))
    assert list(describe_ids(table)) == []
