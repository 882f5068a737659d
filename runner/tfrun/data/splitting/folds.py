"""Cross-validation: rows divided into folds, each of which validates one run that is trained on the others.

The test rows are cut before, so they are the same for all folds and in none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfrun.config.data_settings import DataSettings
from tfrun.data.splitting.named import split_named
from tfrun.data.splitting.parts import Fold, Rule, codes_of, is_empty, listed, of_one_row
from tfrun.errors import DataError


def fold_by_rule(
    rows: np.ndarray, rule: Rule, data: DataSettings, *, labels: Mapping[str, np.ndarray], source: str
) -> Fold:
    """Returns the config's fold: a function of the rows, the rule and `data.split_seed`.

    Args:
        rows: row numbers to divide, int32, in the table's order.
        rule: divides them.
        data: the config's `data`, with `fold`.
        labels: the class of each row of the table by target, (N,) each, for rules under which every class has a
            training row: a row that is the only one of its class is trained on in every fold, and where a fold has all
            rows of a class, one of them leaves the fold.
        source: where the rows come from, for messages.

    Raises:
        DataError: there are more folds than rows, or than the rule can make.
    """
    assert data.folds is not None and data.fold is not None
    single, named = _single_rows(rows, labels)
    rows = np.setdiff1d(rows, single, assume_unique=True)
    notes = [f"{named}, which is trained on in every fold"] if named else []
    if len(rows) < data.folds:
        raise DataError(
            f"{source}: data.folds: each fold needs a row. Received: data.folds={data.folds}, and "
            + "; ".join([f"{len(rows)} rows", *notes])
        )
    repeat, number = divmod(data.fold, data.folds)
    random = np.random.default_rng([data.split_seed, 1 + repeat])
    fold = rule.fold(rows, number, num_folds=data.folds, random=random)
    train, notes = np.concatenate([fold.train, single]), [f"{source}: {note}" for note in notes]
    return _keep_classes(Fold(train, fold.val, (*fold.notes, *notes)), labels, source=source)


def fold_by_column(cells: Any, rows: np.ndarray, data: DataSettings, *, where: str) -> Fold:
    """Returns the config's fold, where a column names each row's fold.

    The folds are in the order of their names, numbers by their size. Rows without a name, or named `train`, are always
    trained on.

    Args:
        cells: the column, (N,).
        rows: row numbers to divide: those that the column doesn't name as test rows.
        data: the config's `data`, with `fold`.
        where: the column, for messages.

    Raises:
        DataError: the column names another number of folds.
    """
    assert data.fold is not None
    codes, values = codes_of(cells, rows)
    names = [value for value in values if not is_empty(value) and split_named(value) != "train"]
    if len(names) != data.folds:
        raise DataError(
            f"{where}: must name as many folds as data.folds, with data.split.by=column. Received: {len(names)} names "
            f"beside train and test ({listed(names)}), and data.folds={data.folds}"
        )
    chosen = codes == values.index(sorted(names, key=_ordered)[data.fold])
    return Fold(rows[~chosen], rows[chosen])


def _single_rows(rows: np.ndarray, labels: Mapping[str, np.ndarray]) -> tuple[np.ndarray, str]:
    """Returns the rows that are the only ones of a class, and what to say of these classes."""
    single, classes = [np.zeros(0, rows.dtype)], []
    for of_rows in labels.values():
        codes, values = codes_of(of_rows, rows)
        is_single = np.bincount(codes, minlength=len(values))[codes] == 1
        single.append(rows[is_single])
        classes += of_rows[rows[is_single]].tolist()
    return np.unique(np.concatenate(single)), of_one_row(classes) if classes else ""


def _keep_classes(fold: Fold, labels: Mapping[str, np.ndarray], *, source: str) -> Fold:
    """Returns a fold with every class among the training rows: rows of a class that has none leave the fold."""
    train, val, notes = fold.train, fold.val, list(fold.notes)
    for name, of_rows in labels.items():
        known = set(of_rows[train].tolist())
        missing = [label for label in dict.fromkeys(of_rows[val].tolist()) if label not in known]
        moved = np.array([val[of_rows[val] == label][0] for label in missing], dtype=val.dtype)
        if missing:
            train, val = np.concatenate([train, moved]), val[~np.isin(val, moved)]
            notes.append(
                f"{source}: target {name!r}: all rows of {listed(missing)} were in this fold, so one of each is "
                "trained on instead"
            )
    return Fold(train, val, tuple(notes))


def _ordered(name: Any) -> tuple[bool, float, str]:
    """Returns what sorts the names of folds: numbers by their size, before texts."""
    try:
        return False, float(name), ""
    except ValueError:
        return True, 0.0, str(name)
