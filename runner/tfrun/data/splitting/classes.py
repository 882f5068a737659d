"""Every class needs a training row: what is not trained on can't be predicted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from tfrun.data.arrays import blocks
from tfrun.data.table import Table
from tfrun.errors import DataError


def cover_classes(
    splits: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray], *, source: str, rows: np.ndarray
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns the splits with every class among the training rows, and a sentence for each row that was moved for it.

    A class without training rows gets one: it trades places with the last training row whose classes all have others.

    Args:
        splits: the row numbers of "train", and of the other splits whose rows may be moved.
        targets: the labels of all rows by target, (N,) each.
        source: where the rows come from, for messages.
        rows: the numbers of the rows that may be trained on, those that data.limit_rows leaves out too.

    Raises:
        DataError: there are more classes than training rows.
    """
    changed = {name: numbers.copy() for name, numbers in splits.items()}
    moved: list[str] = []
    counts = {name: _counts(labels, changed["train"]) for name, labels in targets.items()}
    for name, labels in targets.items():
        missing = _counts(labels, rows).keys() - counts[name].keys()
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
            of_class = rows[labels[rows] == label]
            held_out = [numbers for split, numbers in changed.items() if split != "train"]
            unused = np.setdiff1d(of_class, np.concatenate([np.arange(0), *held_out]))  # because of data.limit_rows
            _trade(changed, int(unused[0] if len(unused) else of_class[0]), place=place)
            for other, its_labels in targets.items():
                counts[other][its_labels[changed["train"][place]]] += 1
            moved.append(
                f"{source}: target {name!r}: the split left no training row for class {label!r}, so one was moved there"
            )
    return changed, tuple(moved)


def _counts(labels: np.ndarray, rows: np.ndarray) -> Counter[str]:
    """Returns how many of some rows, (R,), have each label."""
    counts: Counter[str] = Counter()
    for part in blocks(rows):
        counts.update(labels[rows[part]].tolist())
    return counts


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
    for split, rows in splits.items():
        if split != "train":
            rows[rows == row] = splits["train"][place]
    splits["train"][place] = row


def require_classes(splits: Mapping[str, np.ndarray], table: Table, targets: Mapping[str, np.ndarray]) -> None:
    """Raises DataError if a class of the validation or test rows has no training row.

    Args:
        splits: the row numbers of "train", "val" and "test".
        table: the raw rows.
        targets: the labels of all rows by target, (N,) each.
    """
    for name, labels in targets.items():
        known = set(_counts(labels, splits["train"]))
        for split in ("val", "test"):
            rows = splits[split]
            unknown = _counts(labels, rows).keys() - known
            if unknown:
                row = next(row for row in rows if labels[row] in unknown)
                raise DataError(
                    f"{table.find(int(row))[0]}: target {name!r}: class {labels[row]!r} has rows in the {split} split "
                    "and none to train on, and this split moves no rows. Leave the rows of such classes out, join "
                    f"them with others, or split in another way (data.split.by). In training: "
                    f"{', '.join(map(str, sorted(known)[:20]))}"
                )
