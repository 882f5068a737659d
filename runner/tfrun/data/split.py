"""Splits a table's rows into training, validation and test rows."""

from __future__ import annotations

import numpy as np

from tfrun.errors import DataError


def split_rows(
    num_rows: int, *, validation_split: float, test_split: float, seed: int, limit_rows: int | None = None
) -> dict[str, np.ndarray]:
    """Returns the row numbers of "train", "val" and "test", int32: all rows shuffled once by `seed`, then cut.

    Args:
        num_rows: the table's number of rows.
        validation_split, test_split: the share of the rows in each, from 0 to below 1.
        seed: of the shuffling.
        limit_rows: the most training rows to use; None uses all.

    Raises:
        DataError: no row is left for training.
    """
    order = np.arange(num_rows, dtype=np.int32)
    np.random.default_rng(seed).shuffle(order)
    num_test = round(num_rows * test_split)
    num_val = round(num_rows * validation_split)
    test, val, train = np.split(order, [num_test, num_test + num_val])
    if len(train) == 0:
        raise DataError(
            f"data: no rows are left for training. Received: {num_rows} rows, {num_val} val, {num_test} test"
        )
    return {"train": train[:limit_rows], "val": val, "test": test}
