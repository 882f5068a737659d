"""Splits a table's rows into training, validation and test rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

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
            f"data: no rows are left for training. Received: {num_rows} rows, of which {num_val} are for validation "
            f"and {num_test} for the test. Lower data.validation_split or data.test_split"
        )
    return {"train": train[:limit_rows], "val": val, "test": test}


def cover_classes(
    splits: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray], *, source: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns the splits with every class among the training rows, and a sentence for each row that was moved for it.

    A class without training rows gets one: it trades places with the last training row whose classes all have others.

    Args:
        splits: what `split_rows` returns.
        targets: the labels of all rows by target, (N,) each.
        source: where the rows come from, for messages.

    Raises:
        DataError: there are more classes than training rows.
    """
    changed = {name: rows.copy() for name, rows in splits.items()}
    moved: list[str] = []
    counts = {name: Counter(labels[changed["train"]].tolist()) for name, labels in targets.items()}
    for name, labels in targets.items():
        missing = set(labels.tolist()) - counts[name].keys()
        for label in sorted(missing):
            if counts[name][label]:  # a row that was moved for another target's class
                continue
            place = _replaceable(changed["train"], targets, counts)
            if place is None:
                raise DataError(
                    f"{source}: target {name!r}: class {label!r} can't be put into the training rows, which are fewer "
                    "than there are classes. Give them more with data.validation_split, data.test_split and "
                    "data.limit_rows, or join the rarest classes"
                )
            rows = np.flatnonzero(labels == label)
            unused = np.setdiff1d(rows, np.concatenate([changed["val"], changed["test"]]))  # because of data.limit_rows
            _trade(changed, int(unused[0] if len(unused) else rows[0]), place=place)
            for other, its_labels in targets.items():
                counts[other][its_labels[changed["train"][place]]] += 1
            moved.append(
                f"{source}: target {name!r}: the split left no training row for class {label!r}, so one was moved there"
            )
    return changed, tuple(moved)


def _replaceable(
    train: np.ndarray, targets: Mapping[str, np.ndarray], counts: Mapping[str, Counter[str]]
) -> int | None:
    """Returns the last place in `train` whose row isn't the only one of its classes, and counts it no longer."""
    for place in range(len(train) - 1, -1, -1):
        row = train[place]
        if all(counts[name][labels[row]] > 1 for name, labels in targets.items()):
            for name, labels in targets.items():
                counts[name][labels[row]] -= 1
            return place
    return None


def _trade(splits: Mapping[str, np.ndarray], row: int, *, place: int) -> None:
    """Puts a row to a place of the training rows, and the row that was there where it came from."""
    for rows in (splits["val"], splits["test"]):
        rows[rows == row] = splits["train"][place]
    splits["train"][place] = row
