"""Splits a table's rows into training, validation and test rows by the config's rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from tfrun.config.data_settings import DataSettings
from tfrun.data.splitting.classes import cover_classes, require_classes
from tfrun.data.splitting.folds import fold_by_column, fold_by_rule
from tfrun.data.splitting.groups import Groups
from tfrun.data.splitting.named import named_splits, split_named
from tfrun.data.splitting.parts import Rule, codes_of
from tfrun.data.splitting.shuffled import Shuffled
from tfrun.data.splitting.stratified import Stratified
from tfrun.data.splitting.times import Times, as_numbers, format_of_times
from tfrun.data.table import Table
from tfrun.errors import DataError

HELD_OUT = ("test", "val")  # in the order in which they are cut
MOVES_ROWS = ("random", "stratified")  # the rules under which a row may be moved for its class


@dataclass(frozen=True)
class Splits:
    """The rows of each split.

    Attributes:
        rows: "train", "val" and "test" -> row numbers, int32.
        rule: how they were split, as `run.json` records it.
        notes: sentences on what a person should know of them.
    """

    rows: dict[str, np.ndarray]
    rule: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def training_rows(self) -> np.ndarray:
        """The numbers of the rows to fit on."""
        return self.rows["train"]


def split(table: Table, data: DataSettings) -> Splits:
    """Returns the splits of a table: a function of its cells and the config's `data.split`, shares, seed and limit.

    Every class has a training row: where the rule allows it, a row is moved for that.

    Raises:
        DataError: the rule doesn't fit the rows, no row is left for training, or a class has no training row.
    """
    by = _rule_name(table, data.split.by)
    given = {name: rows.astype(np.int32) for name, rows in (table.given or {}).items() if name in HELD_OUT}
    random = np.random.default_rng(data.split_seed)
    rule = _rule(table, by, data=data)
    labels = {name: target.values for name, target in table.targets.items() if target.task == "classification"}
    notes: tuple[str, ...] = ()
    if data.fold is not None:
        movable_labels = labels if by in MOVES_ROWS else {}
        parts, notes = _cut_fold(table, data, rule, given=given, labels=movable_labels, random=random)
    elif by == "column":
        parts = _named(table, data.split.column, given=given, random=random)
    else:
        parts, notes = _cut(table, data, rule, given=given, random=random)
    num_rows = {name: len(rows) for name, rows in parts.items()}
    if not num_rows["train"]:
        raise DataError(
            f"data: no rows are left for training. Received: {len(table.target)} rows, of which {num_rows['val']} are "
            f"for validation and {num_rows['test']} for the test. Lower data.validation_split or data.test_split"
        )
    movable = [name for name in HELD_OUT if by in MOVES_ROWS and name not in given and data.fold is None]
    may_train = np.sort(np.concatenate([parts["train"], *(parts[name] for name in movable)]))
    if data.limit_rows is not None and data.limit_rows < num_rows["train"]:
        parts["train"] = rule.limit(parts["train"], data.limit_rows, random)
    covered, moved = cover_classes(
        {name: parts[name] for name in ("train", *movable)}, labels, source=table.source, rows=may_train
    )
    parts = {name: covered.get(name, parts[name]) for name in ("train", "val", "test")}
    require_classes(parts, table, labels)
    described: dict[str, Any] = {"by": by, "column": data.split.column, "given": sorted(given)}
    if data.fold is not None:
        described |= {"fold": data.fold, "folds": data.folds, "folds_repeats": data.folds_repeats}
    return Splits(parts, {key: value for key, value in described.items() if value not in (None, [])}, (*notes, *moved))


def _rule_name(table: Table, by: str) -> str:
    """Returns the name of the rule that "auto" stands for. Raises DataError if strata are wanted of numbers."""
    is_classification = table.task == "classification"
    if by == "stratified" and not is_classification:
        raise DataError(
            f"{table.source}: data.split.by: stratified needs a target of classes. Received: {table.target_name!r}, "
            "numbers. Use random, or data.task=classification if they are classes"
        )
    return {True: "stratified", False: "random"}[is_classification] if by == "auto" else by


def _rule(table: Table, by: str, *, data: DataSettings) -> Rule:
    """Returns the rule of a name, with the cells of the column that it goes by."""
    column = data.split.column
    if by == "stratified":
        return Stratified(table.target, f"{table.source}: target {table.target_name!r}")
    if by == "group":
        return Groups(table.split_cells, str(column))
    if by == "time":
        date_format = format_of_times(data, str(column))
        find = partial(_place, table, column)
        times = as_numbers(table.split_cells, find=find, where=f"column {column!r}", date_format=date_format)
        return Times(times, str(column))
    return Shuffled()


def _named(
    table: Table, column: str | None, *, given: Mapping[str, np.ndarray], random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Returns the splits that a column names. Raises DataError if the source says another way which rows they are."""
    if given:
        raise DataError(
            f"{table.source}: has its splits already ({', '.join(given)}), and data.split.by=column names them too. "
            "Leave one of them out"
        )
    return named_splits(table.split_cells, random, find=partial(_place, table, column), where=f"column {column!r}")


def _place(table: Table, column: str | None, row: int) -> str:
    return table.find(row, column)[0]


def _cut(
    table: Table, data: DataSettings, rule: Rule, *, given: Mapping[str, np.ndarray], random: np.random.Generator
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns the splits: those that the source gives, and the other rows as a rule cuts them; and its notes."""
    is_given = np.zeros(len(table.target), bool)
    for rows in given.values():
        is_given[rows] = True
    rest = np.flatnonzero(~is_given).astype(np.int32)
    shares = {"test": data.test_split, "val": data.validation_split}
    sizes = [0 if name in given else round(len(rest) * shares[name]) for name in HELD_OUT]
    cut = rule.cut(rest, sizes, random)
    parts = dict(zip((*HELD_OUT, "train"), cut.rows, strict=True)) | dict(given)
    if given:
        rule.check(parts, partial(_place, table, data.split.column))
    notes = [
        f"data.split: {len(rows):,} {name} rows instead of {size:,}: {rule.why_sizes_differ}"
        for name, size, rows in zip(HELD_OUT, sizes, cut.rows, strict=False)
        if abs(len(rows) - size) > max(1, size / 4)
    ]
    return parts, (*cut.notes, *notes)


def _cut_fold(
    table: Table,
    data: DataSettings,
    rule: Rule,
    *,
    given: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    random: np.random.Generator,
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns the splits of a fold, whose test rows are those of all folds; and notes."""
    if "val" in given:
        raise DataError(
            f"{table.source}: has its validation rows already, and data.folds makes others. Leave one of them out"
        )
    column = data.split.column
    if data.split.by == "column":
        rows = np.arange(len(table.target), dtype=np.int32)
        codes, values = codes_of(table.split_cells, rows)
        is_test = np.isin(codes, [code for code, value in enumerate(values) if split_named(value) == "test"])
        where = f"{table.source}: column {column!r}"
        test, fold = rows[is_test], fold_by_column(table.split_cells, rows[~is_test], data, where=where)
        notes: tuple[str, ...] = ()
    else:
        parts, notes = _cut(table, replace(data, validation_split=0.0), rule, given=given, random=random)
        test = parts["test"]
        fold = fold_by_rule(np.sort(parts["train"]), rule, data, labels=labels, source=table.source)
    splits = {"train": fold.train, "val": fold.val, "test": test}
    if given:
        rule.check(splits, partial(_place, table, column))
    return splits, tuple(dict.fromkeys((*notes, *fold.notes)))
