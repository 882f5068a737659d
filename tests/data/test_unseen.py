"""Rows whose texts a run knows nothing of are counted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfrun.data.preprocessing import fit
from tfrun.data.table import Table
from tfrun.data.unseen import unseen_texts


def test_rows_with_unseen_texts_are_counted_for_each_column(homes: Callable[..., Table], train: np.ndarray) -> None:
    fitted = fit(homes(), train, scale_target=False)
    beginning = "column 'city': 4 of 10 rows have values that the training rows don't have"
    assert [line.startswith(beginning) for line in unseen_texts(homes(), fitted)] == [True]
    assert list(unseen_texts(homes(), fitted, train)) == []  # an empty cell is no value
    numbers = homes(columns=homes().columns | {"city": np.zeros(10)})
    assert list(unseen_texts(numbers, fitted)) == []  # an error later
