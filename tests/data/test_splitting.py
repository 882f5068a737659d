"""Which rows are trained on, validated on and tested on: what each rule promises, for random tables too."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from tfrun.config.column_kinds import DateKind
from tfrun.config.data_settings import DataSettings, SplitSettings
from tfrun.data.splitting.classes import cover_classes
from tfrun.data.splitting.groups import Groups, nearest_sum
from tfrun.data.splitting.shuffled import Shuffled
from tfrun.data.splitting.split import split
from tfrun.data.splitting.stratified import Stratified, apportion
from tfrun.data.splitting.times import as_numbers
from tfrun.data.table import Table, Target
from tfrun.errors import DataError

SPLITS = ("train", "val", "test")
CASES = 60  # random tables of each rule


def settings(by: str = "auto", column: str | None = None, **changes: Any) -> DataSettings:
    values: dict[str, Any] = {
        "name": "rows",
        "params": {},
        "batch_size": 2,
        "validation_split": 0.2,
        "test_split": 0.1,
        "split_seed": 0,
        "target_scaling": "standard",
        "residency": "auto",
        "limit_rows": None,
        "sample_weight": None,
        "missing_target": "error",
        "text": {},
        "split": SplitSettings(by, column),  # type: ignore[arg-type] # the rules are literals
    }
    return DataSettings(**values | changes)


def texts(*cells: str) -> np.ndarray:
    return np.array(cells, dtype=object)


def rows_of(target: np.ndarray, cells: np.ndarray | None = None, **changes: Any) -> Table:
    """Returns a table of a target; `cells` are those of data.split.column."""
    task = "classification" if target.dtype == object else "regression"
    table = Table({"x": np.zeros(len(target))}, target, "y", task, "rows.csv", first_line=2, split_cells=cells)
    return dataclasses.replace(table, **changes)


def numbers(num_rows: int, cells: np.ndarray | None = None, **changes: Any) -> Table:
    return rows_of(np.arange(float(num_rows)), cells, **changes)


def sizes_of(rows: dict[str, np.ndarray]) -> dict[str, int]:
    return {name: len(rows[name]) for name in SPLITS}


def check_whole(rows: dict[str, np.ndarray], num_rows: int) -> None:
    """Checks that every row is in one split."""
    assert sorted(np.concatenate([rows[name] for name in SPLITS]).tolist()) == list(range(num_rows))
    assert all(rows[name].dtype == np.int32 for name in SPLITS)


def test_rows_are_shuffled_once_and_cut() -> None:
    splits = split(numbers(100), settings("random"))
    assert sizes_of(splits.rows) == {"train": 70, "val": 20, "test": 10}
    check_whole(splits.rows, 100)
    assert splits.rows["test"].tolist() != sorted(splits.rows["test"].tolist())
    assert (splits.rule, splits.notes) == ({"by": "random"}, ())


def test_the_random_split_of_a_seed_stays_the_same_for_ever() -> None:
    rows = split(numbers(10), settings("random")).rows
    assert {name: rows[name].tolist() for name in SPLITS} == {
        "test": [4],
        "val": [6, 2],
        "train": [7, 3, 5, 9, 0, 8, 1],
    }


@pytest.mark.parametrize("by", ["random", "stratified", "group", "column"])
def test_a_split_depends_on_the_seed_alone(by: str) -> None:
    cells = texts(*("train" if k % 3 else "val" for k in range(100)))
    groups = texts(*(str(k // 3) for k in range(100)))
    table = rows_of(texts(*("abcd"[k % 4] for k in range(100))), groups if by == "group" else cells)
    column = "c" if by in ("group", "column") else None
    first, again, other = (split(table, settings(by, column, split_seed=seed)).rows for seed in (0, 0, 1))
    for name in ("train", "val"):
        assert first[name].tolist() == again[name].tolist() != other[name].tolist()


def test_auto_is_stratified_for_classes_and_random_for_numbers() -> None:
    assert split(numbers(10), settings()).rule == {"by": "random"}
    assert split(rows_of(texts(*"ab" * 10)), settings()).rule == {"by": "stratified"}


def test_strata_of_numbers_are_an_error() -> None:
    with pytest.raises(DataError, match=r"^rows.csv: data.split.by: stratified needs a target of classes. .* 'y'"):
        split(numbers(10), settings("stratified"))


@pytest.mark.parametrize("by", ["random", "time", "group"])
def test_validation_and_test_rows_may_be_none(by: str) -> None:
    table = numbers(10, np.arange(10.0))
    column = None if by == "random" else "c"
    rows = split(table, settings(by, column, validation_split=0.0, test_split=0.0)).rows
    assert sizes_of(rows) == {"train": 10, "val": 0, "test": 0}


@pytest.mark.parametrize("by", ["random", "stratified", "group", "time"])
def test_limit_rows_cuts_the_training_rows_alone(by: str) -> None:
    table = rows_of(texts(*("abbb"[k % 4] for k in range(100))), np.arange(100.0) // 2)
    column = "c" if by in ("group", "time") else None
    whole, limited = (split(table, settings(by, column, limit_rows=limit)).rows for limit in (None, 8))
    assert len(limited["train"]) == 8
    assert set(limited["train"].tolist()) < set(whole["train"].tolist())
    assert all(limited[name].tolist() == whole[name].tolist() for name in ("val", "test"))
    if by == "stratified":
        assert Counter(table.target[limited["train"]].tolist()) == {"a": 2, "b": 6}
    if by == "time":
        assert limited["train"].tolist() == list(range(62, 70))  # the newest ones


def test_a_split_without_training_rows_is_an_error() -> None:
    with pytest.raises(DataError, match="Received: 3 rows, of which 1 are for validation and 2 for"):
        split(numbers(3), settings("random", validation_split=0.4, test_split=0.59))


# strata


def test_each_class_has_its_share_in_every_split() -> None:
    table = rows_of(texts(*["a"] * 60, *["b"] * 30, *["c"] * 10))
    rows = split(table, settings()).rows
    counts = {name: Counter(table.target[rows[name]].tolist()) for name in SPLITS}
    assert counts["test"] == {"a": 6, "b": 3, "c": 1}
    assert counts["val"] == {"a": 12, "b": 6, "c": 2}
    assert counts["train"] == {"a": 42, "b": 21, "c": 7}


def test_shares_of_random_strata_are_as_near_as_whole_rows_allow(random: np.random.Generator) -> None:
    for _ in range(CASES):
        counts = random.integers(2, 60, random.integers(2, 9))
        labels = np.repeat([f"c{k}" for k in range(len(counts))], counts).astype(object)
        random.shuffle(labels)
        validation, test = random.uniform(0, 0.4, 2)
        data = settings(validation_split=validation, test_split=test, split_seed=int(random.integers(100)))
        splits = split(rows_of(labels), data)
        check_whole(splits.rows, len(labels))
        asked = {"val": round(len(labels) * validation), "test": round(len(labels) * test)}
        assert {name: len(splits.rows[name]) for name in asked} == asked
        for k, count in enumerate(counts):
            has = {name: int((labels[splits.rows[name]] == f"c{k}").sum()) for name in SPLITS}
            assert has["train"] >= 1
            ideal = {name: count * size / len(labels) for name, size in asked.items()}
            # largest remainders: less than one row from the share; the validation rows level out the test rows'
            if count * (1 - (asked["val"] + asked["test"]) / len(labels)) >= 1:
                assert abs(has["test"] - ideal["test"]) < 1
                assert abs(has["test"] + has["val"] - ideal["test"] - ideal["val"]) < 1


def test_the_largest_remainders_get_the_missing_seats() -> None:
    quotas = np.array([2.6, 1.3, 0.3, 0.8])  # Hamilton's method by hand: floors 2, 1, 0, 0; then 0.8 and 0.6
    most, ties = np.full(4, 9), np.arange(4)
    assert apportion(quotas, 5, most=most, ties=ties).tolist() == [3, 1, 0, 1]
    assert apportion(quotas, 5, most=np.array([2, 9, 9, 0]), ties=ties).tolist() == [2, 2, 1, 0]
    assert apportion(quotas, 5, most=np.array([2, 1, 0, 0]), ties=ties).tolist() == [2, 1, 0, 0]
    assert apportion(np.array([0.5, 0.5]), 1, most=np.array([1, 1]), ties=np.array([1, 0])).tolist() == [0, 1]
    assert apportion(np.array([2.0, 1.0, -0.5]), 2, most=np.full(3, 9), ties=np.arange(3)).tolist() == [1, 1, 0]


def test_a_class_of_one_row_is_trained_on_with_a_word() -> None:
    labels = texts(*["a", "b"] * 20, "only", "alone")
    for seed in range(20):
        splits = split(rows_of(labels), settings(split_seed=seed))
        assert {40, 41} <= set(splits.rows["train"].tolist())
        assert len(splits.notes) == 1
        names = splits.notes[0].removeprefix("rows.csv: target 'y': classes ").split(" have ")[0]
        assert set(names.split(", ")) == {"'only'", "'alone'"}
    one = Stratified(texts("a", "a", "b"), "rows.csv: target 'y'").cut(np.arange(3), [1], np.random.default_rng(0))
    assert one.notes == ("rows.csv: target 'y': class 'b' has one row, which stays in the training rows",)


def test_classes_of_one_row_each_all_stay_in_training() -> None:
    splits = split(rows_of(texts(*"abcdefghij")), settings(validation_split=0.3, test_split=0.3))
    assert sizes_of(splits.rows) == {"train": 10, "val": 0, "test": 0}
    assert any("0 val rows instead of 3" in note for note in splits.notes)


def test_several_targets_are_stratified_by_the_main_one() -> None:
    other = Target(texts(*("xy"[k % 50 == 7] for k in range(100))), "classification")
    table = rows_of(texts(*"ab" * 50), others={"other": other})
    rows = split(table, settings()).rows
    assert Counter(table.target[rows["test"]].tolist()) == {"a": 5, "b": 5}
    assert set(other.values[rows["train"]].tolist()) == {"x", "y"}


# classes


def test_every_class_gets_a_training_row_for_any_seed() -> None:
    """One row of a hundred has a class of its own; it was in the validation or test rows for a fifth of seeds."""
    labels = texts(*("rare" if k == 37 else "eo"[k % 2] for k in range(100)))
    changed = 0
    for seed in range(30):
        whole = Shuffled().cut(np.arange(100, dtype=np.int32), [10, 20], np.random.default_rng(seed)).rows
        before = dict(zip(("test", "val", "train"), whole, strict=True))
        splits = split(rows_of(labels), settings("random", split_seed=seed))
        assert 37 in splits.rows["train"]
        check_whole(splits.rows, 100)
        assert sizes_of(splits.rows) == {"train": 70, "val": 20, "test": 10}
        if 37 in before["train"]:
            assert all(splits.rows[name].tolist() == before[name].tolist() for name in SPLITS)
            assert splits.notes == ()
        else:
            changed += 1
            assert int((splits.rows["train"] != before["train"]).sum()) == 1
            assert splits.notes == (
                "rows.csv: target 'y': the split left no training row for class 'rare', so one was moved there",
            )
    assert changed > 3


def test_classes_of_several_targets_are_covered_together() -> None:
    splits = {"train": np.arange(4), "val": np.array([4, 5]), "test": np.array([6])}
    first = texts("a", "a", "a", "b", "c", "a", "a")
    second = texts("x", "x", "y", "x", "x", "z", "x")
    covered, _ = cover_classes(splits, {"first": first, "second": second}, source="", rows=np.arange(7))
    # c trades with the last row whose classes have others: 1 (3 is the only b, 2 the only y); z with 0 then
    assert covered["train"].tolist() == [5, 4, 2, 3]
    assert covered["val"].tolist() == [1, 0]
    assert covered["test"].tolist() == [6]


def test_a_row_that_limit_rows_leaves_out_is_taken_first() -> None:
    labels = texts("a", "a", "b", "b")
    splits = {"train": np.array([0, 1]), "val": np.array([2]), "test": np.arange(0)}
    covered, _ = cover_classes(splits, {"kind": labels}, source="", rows=np.arange(4))
    assert covered["train"].tolist() == [0, 3]
    assert covered["val"].tolist() == [2]


def test_more_classes_than_training_rows_are_an_error() -> None:
    labels = texts("a", "b", "c")
    splits = {"train": np.array([0, 1]), "val": np.array([2]), "test": np.arange(0)}
    with pytest.raises(DataError, match="rows.csv: target 'kind': class 'c' can't be put into the training rows"):
        cover_classes(splits, {"kind": labels}, source="rows.csv", rows=np.arange(3))


@pytest.mark.parametrize("by", ["group", "time", "column"])
def test_a_class_without_training_rows_is_an_error_if_no_row_may_be_moved(by: str) -> None:
    cells = texts(*["train"] * 18, "val", "test") if by == "column" else np.arange(20.0)
    labels = texts(*["a", "b"] * 9, "new", "new")
    seed = next(
        seed for seed in range(99) if 19 in split(numbers(20, cells), settings(by, "c", split_seed=seed)).rows["test"]
    )
    message = r"^rows.csv:(20|21): target 'y': class 'new' has rows in the (val|test) split and none to train on"
    with pytest.raises(DataError, match=message):
        for further in range(seed, 99):
            split(rows_of(labels, cells), settings(by, "c", split_seed=further))


def test_a_class_that_limit_rows_leaves_out_is_covered_by_any_rule() -> None:
    labels = texts(*["b"] * 5, *["a"] * 15)
    rows = split(rows_of(labels, np.arange(20.0)), settings("time", "c", limit_rows=3)).rows
    assert sorted(set(labels[rows["train"]].tolist())) == ["a", "b"] and len(rows["train"]) == 3


# groups


def test_no_group_is_in_two_splits_whatever_their_sizes(random: np.random.Generator) -> None:
    for _ in range(CASES):
        counts = random.integers(1, random.integers(2, 20), random.integers(3, 30))
        groups = np.repeat(np.arange(len(counts)), counts)
        random.shuffle(groups)
        cells = groups.astype("float64") if random.random() < 0.5 else np.array([f"g{k}" for k in groups], dtype=object)
        data = settings("group", "c", split_seed=int(random.integers(100)))
        rows = split(numbers(len(groups), cells), data).rows
        check_whole(rows, len(groups))
        members = [set(groups[rows[name]].tolist()) for name in SPLITS]
        assert not any(one & other for one, other in itertools.combinations(members, 2))
        assert all(members)


def test_sizes_of_splits_by_group_are_as_near_as_whole_groups_allow(random: np.random.Generator) -> None:
    """Against all sums of all subsets."""
    for _ in range(CASES):
        sizes = random.integers(1, 40, random.integers(2, 9))
        target = int(random.integers(1, sizes.sum()))
        sums = {sum(some) for n in range(1, len(sizes) + 1) for some in itertools.combinations(sizes.tolist(), n)}
        taken = nearest_sum(sizes, target, at_most=len(sizes))
        assert abs(int(sizes[taken].sum()) - target) == min(abs(total - target) for total in sums)


def test_very_many_groups_are_taken_as_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    from tfrun.data.splitting import groups

    monkeypatch.setattr(groups, "TABLE_BITS", 0)
    assert nearest_sum(np.array([5, 3, 4, 1]), 9, at_most=4).tolist() == [True, True, False, True]
    assert nearest_sum(np.array([5, 7]), 3, at_most=2).tolist() == [True, False]
    assert nearest_sum(np.array([1, 2, 3]), 6, at_most=2).tolist() == [False, True, True]


def test_groups_are_chosen_by_the_seed() -> None:
    cells = texts(*(f"g{k % 10}" for k in range(100)))
    tested = {split(numbers(100, cells), settings("group", "c", split_seed=k)).rows["test"][0] % 10 for k in range(40)}
    assert len(tested) > 5


def test_a_large_group_makes_a_note() -> None:
    cells = texts(*["big"] * 60, *["a"] * 20, *["b"] * 20)
    splits = split(numbers(100, cells), settings("group", "c", validation_split=0.1))
    assert sizes_of(splits.rows) == {"train": 60, "val": 20, "test": 20}
    assert splits.notes == (
        "data.split: 20 test rows instead of 10: the rows of a group stay together",
        "data.split: 20 val rows instead of 10: the rows of a group stay together",
    )
    assert splits.rule == {"by": "group", "column": "c"}


@pytest.mark.parametrize("empty", ["", float("nan")])
def test_a_row_without_a_group_is_one_of_its_own(empty: Any) -> None:
    cells = np.array([k // 5 if k < 15 else empty for k in range(30)], dtype=object if empty == "" else "float64")
    if empty == "":
        cells = np.array([str(cell) for cell in cells], dtype=object)
    splits = split(numbers(30, cells), settings("group", "c", split_seed=3))
    assert splits.notes == ("data.split.column: 15 rows have no 'c'; each is a group of its own",)
    assert sizes_of(splits.rows) == {"train": 21, "val": 6, "test": 3}


@pytest.mark.parametrize(("num_groups", "said"), [(1, "1 group$"), (2, "2 groups$")])
def test_too_few_groups_are_an_error(num_groups: int, said: str) -> None:
    cells = np.arange(20.0) % num_groups
    with pytest.raises(DataError, match=f"^data.split.column: .* need a group of 'c'. Received: {said}"):
        split(numbers(20, cells), settings("group", "c"))
    rows = Groups(cells, "c").cut(np.arange(20), [0, 0], np.random.default_rng(0)).rows
    assert [len(part) for part in rows] == [0, 0, 20]


# times


def test_no_row_is_older_than_one_of_an_earlier_split(random: np.random.Generator) -> None:
    for _ in range(CASES):
        times = random.integers(0, random.integers(4, 60), 80).astype("float64")
        splits = split(numbers(80, times), settings("time", "c", split_seed=int(random.integers(100))))
        check_whole(splits.rows, 80)
        train, val, test = (times[splits.rows[name]] for name in SPLITS)
        assert train.max() < val.min() and val.max() < test.min()  # and so rows of one time are together
        # the cuts are the nearest ones that leave each split a time
        edges = [int((times < time).sum()) for time in np.unique(times)][1:]
        assert abs(80 - len(test) - 72) == min(abs(edge - 72) for edge in edges[1:])


def test_training_rows_are_in_the_order_of_their_times() -> None:
    times = texts("2024-03-01", "2024-01-01", "2024-02-01", *(f"2025-01-{k:02}" for k in range(1, 18)))
    rows = split(numbers(20, times), settings("time", "day")).rows
    assert rows["train"].tolist() == [1, 2, 0, *range(3, 14)]
    assert (rows["val"].tolist(), rows["test"].tolist()) == ([14, 15, 16, 17], [18, 19])


@pytest.mark.parametrize(
    "cells",
    [
        ["2024-01-31", "2024-02-01", "2024-02-01T10:00:00", "2024-02-01 10:00:00.5", "2024-12-01"],
        ["2024-01-31T23:30:00-01:00", "2024-02-01T00:31:00Z", "2024-02-01T03:00:00+02:00"],
        ["1949-01", "1949-02", "1949-12", "1950-01"],
        ["9", "10", "1e3", "1001.5"],
        ["20240131", "20240201"],
        ["1582-01-01", "1970-01-01", "9999-12-31"],
        ["2024-W05", "2024-02-05", "2024-W06-2"],
        ["20240131T1030", "2024-01-31T10:31"],
        ["20240131T1030+0100", "2024-01-31T09:31Z"],
        ["2024-01-31T10:30:00.000001", "2024-01-31T10:30:00.000002"],
    ],
)
def test_times_are_ordered_by_what_they_mean(cells: list[str]) -> None:
    read = as_numbers(texts(*cells), find=str, where="")
    assert (np.diff(read) > 0).all()


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["2024-01-31", ""], "^rows.csv:3, column 'day': is empty. Received: ''"),
        ([1.0, np.nan], "^rows.csv:3, column 'day': is empty"),
        (
            ["2024-01-31", "31.01.2024"],
            "^rows.csv:3, column 'day': must be a number, or a date such as 2024-01-31. .*31",
        ),
        (["1", "2024-01-31"], "^rows.csv:2, column 'day': must be a number, or a date"),
        (["2024-01-31", "inf"], "^rows.csv:3, column 'day': must be a number"),
        (
            ["2024-01-31", "2024-02-01T00:00:00Z"],
            "^rows.csv:3, .*: must have a UTC offset if '2024-01-31' has one, .* Received: '2024-02-01T",
        ),
    ],
)
def test_cells_that_are_no_times_are_an_error(cells: list[Any], message: str) -> None:
    column = texts(*cells) if isinstance(cells[0], str) else np.array(cells)
    with pytest.raises(DataError, match=message):
        split(numbers(2, column), settings("time", "day"))


def test_times_may_have_a_format() -> None:
    """That of the column's kind; the column is no input for it."""
    days = texts("31.01.2024", "01.02.2023", "05.01.2024")
    kinds = {"day": DateKind("%d.%m.%Y")}
    rows = split(numbers(3, days), settings("time", "day", kinds=kinds, validation_split=0.4, test_split=0.3)).rows
    assert {name: rows[name].tolist() for name in SPLITS} == {"train": [1], "val": [2], "test": [0]}
    with pytest.raises(DataError, match="^rows.csv:2, column 'day': must be a date of the format that data.k"):
        split(numbers(1, texts("2024-01-31")), settings("time", "day", kinds=kinds))


@pytest.mark.parametrize(("num_times", "said"), [(1, "1 time$"), (2, "2 times$")])
def test_too_few_times_are_an_error(num_times: int, said: str) -> None:
    with pytest.raises(DataError, match=f"^data.split.column: .* need a time of 'c'. Received: {said}"):
        split(numbers(20, np.arange(20.0) % num_times), settings("time", "c"))


def test_few_times_are_cut_where_they_can_be() -> None:
    """Three years of penguins: one each."""
    years = np.repeat([2007.0, 2008.0, 2009.0], [110, 114, 120])
    splits = split(numbers(344, years), settings("time", "year"))
    assert sizes_of(splits.rows) == {"train": 110, "val": 114, "test": 120}
    assert "data.split: 120 test rows instead of 34: the rows of one time stay together" in splits.notes


# a column of splits


def test_a_column_names_the_splits() -> None:
    cells = texts("train", "Validation", "test", "training", "val", "holdout", "VALID", " train ", "train", "train")
    splits = split(numbers(10, cells), settings("column", "part"))
    assert {name: sorted(splits.rows[name].tolist()) for name in SPLITS} == {
        "train": [0, 3, 7, 8, 9],
        "val": [1, 4, 6],
        "test": [2, 5],
    }
    assert splits.rule == {"by": "column", "column": "part"}


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["train", "tets"], "^rows.csv:3, column 'part': names no split. Received: 'tets'. .* Did you mean 'test'"),
        (["train", ""], "^rows.csv:3, column 'part': is empty. Known: train, training, val"),
        ([1.0, 2.0], "^rows.csv:(2|3), column 'part': names no split. Received: "),
        (["val", "test"], "no rows are left for training. Received: 2 rows, of which 1 are for"),
    ],
)
def test_words_that_name_no_split_are_an_error(cells: list[Any], message: str) -> None:
    column = texts(*cells) if isinstance(cells[0], str) else np.array(cells)
    with pytest.raises(DataError, match=message):
        split(numbers(2, column), settings("column", "part"))


# splits that the source gives


def test_what_the_source_gives_is_not_cut() -> None:
    given = {"val": np.arange(80, 100)}
    splits = split(numbers(100, given=given), settings("random"))
    assert sizes_of(splits.rows) == {"train": 72, "val": 20, "test": 8}  # 10 % of the other 80
    assert splits.rows["val"].tolist() == list(range(80, 100))
    assert splits.rule == {"by": "random", "given": ["val"]}
    both = split(numbers(100, given=given | {"test": np.arange(70, 80)}), settings("random"))
    assert sorted(both.rows["train"].tolist()) == list(range(70))


def test_a_class_only_in_given_rows_is_an_error() -> None:
    labels = texts(*["a", "b"] * 10, "new")
    with pytest.raises(DataError, match=r"^rows.csv:22: target 'y': class 'new' has rows in the val split"):
        split(rows_of(labels, given={"val": np.array([20])}), settings())


@pytest.mark.parametrize(
    ("by", "cells", "message"),
    [
        (
            "group",
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 3],
            "^rows.csv:11, column 'c': a group must be in one split. .* 3.0 in the val",
        ),
        ("time", [0, 1, 2, 3, 4, 5, 6, 7, 8, 3], "^rows.csv:11, column 'c': no row of the val split may be older"),
        ("column", [0] * 10, "^rows.csv: has its splits already .val., and data.split.by=column names them too"),
    ],
)
def test_given_rows_that_break_the_rule_are_an_error(by: str, cells: list[int], message: str) -> None:
    table = numbers(10, np.array(cells, "float64"), given={"val": np.array([9])})
    with pytest.raises(DataError, match=message):
        split(table, settings(by, "c", test_split=0.0))


def test_rows_that_are_selected_keep_their_splits() -> None:
    table = numbers(6, texts(*"abcdef"), given={"val": np.array([1, 4]), "test": np.array([5])})
    selected = table.select(np.array([0, 2, 4, 5]))
    assert selected.given is not None and selected.split_cells.tolist() == ["a", "c", "e", "f"]
    assert {name: rows.tolist() for name, rows in selected.given.items()} == {"val": [2], "test": [3]}


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(1)


def folds_of(table: Table, data: DataSettings) -> list[dict[str, np.ndarray]]:
    """Returns the splits of each fold of all repeats."""
    assert data.folds is not None
    return [split(table, dataclasses.replace(data, fold=k)).rows for k in range(data.folds * data.folds_repeats)]


def check_folds(folds: list[dict[str, np.ndarray]], num_rows: int) -> None:
    """Checks that each row is in one fold or among the test rows, which are the same for all folds."""
    held_out = [rows["val"] for rows in folds]
    assert sorted(np.concatenate([*held_out, folds[0]["test"]]).tolist()) == list(range(num_rows))
    for rows in folds:
        check_whole(rows, num_rows)
        assert rows["test"].tolist() == folds[0]["test"].tolist()


@pytest.mark.parametrize("case", range(CASES))
def test_each_row_is_in_one_fold(case: int) -> None:
    random = np.random.default_rng(case)
    num_rows, num_folds = int(random.integers(30, 200)), int(random.integers(2, 7))
    labels = random.choice(["a", "b", "c"], size=num_rows, p=[0.6, 0.3, 0.1]).astype(object)
    by = ("random", "stratified", "group")[case % 3]
    table = rows_of(labels, random.integers(0, 20, num_rows).astype(str).astype(object))
    data = settings(by, "c" if by == "group" else None, folds=num_folds, split_seed=case)
    if by == "group":
        table = dataclasses.replace(table, target=np.arange(float(num_rows)), task="regression")
    folds = folds_of(table, data)
    check_folds(folds, num_rows)
    sizes = [len(rows["val"]) for rows in folds]
    if by != "group":
        assert max(sizes) - min(sizes) <= 1
    if by == "stratified":  # as many of each class in each fold, but for a row of rounding on either side
        counts = np.array([[(labels[rows["val"]] == label).sum() for label in "abc"] for rows in folds])
        assert (np.ptp(counts, axis=0) <= 2).all()
    if by == "group":
        cells = table.split_cells
        assert cells is not None
        for rows in folds:
            parts = [set(cells[rows[name]]) for name in SPLITS]
            assert not any(one & other for one, other in itertools.combinations(parts, 2))


def test_the_test_rows_of_folds_are_those_of_a_single_run() -> None:
    table = numbers(100)
    folds = folds_of(table, settings("random", folds=3))
    assert folds[0]["test"].tolist() == split(table, settings("random")).rows["test"].tolist()
    assert sizes_of(folds[0]) == {"train": 60, "val": 30, "test": 10}


def test_each_repeat_divides_the_rows_anew() -> None:
    folds = folds_of(numbers(50), settings("random", folds=5, folds_repeats=2))
    check_folds(folds[:5], 50)
    check_folds(folds[5:], 50)
    assert sorted(folds[0]["val"].tolist()) != sorted(folds[5]["val"].tolist())
    again = folds_of(numbers(50), settings("random", folds=5))
    assert [rows["val"].tolist() for rows in again] == [rows["val"].tolist() for rows in folds[:5]]


def test_folds_in_time_are_trained_on_older_rows_alone() -> None:
    times = np.array([3.0, 9.0, 1.0, 7.0, 0.0, 5.0, 8.0, 2.0, 6.0, 4.0])
    folds = folds_of(numbers(10, times), settings("time", "t", folds=3, test_split=0.2))
    # the newest two test; the others make four stretches, of which the oldest is only trained on
    assert [sorted(times[rows["test"]].tolist()) for rows in folds] == [[8.0, 9.0]] * 3
    assert [sorted(times[rows["val"]].tolist()) for rows in folds] == [[2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]
    assert [sorted(times[rows["train"]].tolist()) for rows in folds] == [
        [0.0, 1.0],
        [0.0, 1.0, 2.0, 3.0],
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
    ]


def test_a_column_may_name_the_folds() -> None:
    cells = texts("2", "10", "", "test", "10", "2", "train", "1")
    folds = folds_of(numbers(8, cells), settings("column", "fold", folds=3))
    assert [sorted(rows["val"].tolist()) for rows in folds] == [[7], [0, 5], [1, 4]]
    assert [sorted(rows["train"].tolist()) for rows in folds] == [[0, 1, 2, 4, 5, 6], [1, 2, 4, 6, 7], [0, 2, 5, 6, 7]]
    assert [rows["test"].tolist() for rows in folds] == [[3]] * 3
    with pytest.raises(
        DataError, match=r"^rows.csv: column 'fold': must name as many folds as data.folds.*: 3 names .*'2', '10', '1'"
    ):
        split(numbers(8, cells), settings("column", "fold", folds=5, fold=0))


@pytest.mark.parametrize("by", ["random", "stratified"])
def test_a_class_of_one_row_is_trained_on_in_every_fold(by: str) -> None:
    table = rows_of(texts(*"ab" * 10, "rare"))
    folds = folds_of(table, settings(by, folds=4, test_split=0.0))
    assert all(20 in rows["train"] for rows in folds)
    notes = split(table, settings(by, folds=4, fold=1, test_split=0.0)).notes
    assert any("class 'rare' has one row, which is trained on in every fold" in note for note in notes)


def test_a_class_with_all_its_rows_in_one_fold_keeps_one_to_train_on() -> None:
    moved = []
    for seed in range(20):
        table = rows_of(texts(*"a" * 10, "b", "b"))
        data = settings("random", folds=2, test_split=0.0, split_seed=seed)
        for k, rows in enumerate(folds_of(table, data)):
            assert set(table.target[rows["train"]]) == {"a", "b"}
            notes = split(table, dataclasses.replace(data, fold=k)).notes
            moved += [note for note in notes if "all rows of 'b' were in this fold" in note]
    assert moved


def test_rows_that_are_in_no_fold_are_named_if_there_are_too_many_folds() -> None:
    table = rows_of(texts(*"a" * 4, "b"))
    with pytest.raises(DataError, match="data.folds=5, and 4 rows; class 'b' has one row, which is trained on in eve"):
        split(table, settings("random", folds=5, fold=0, test_split=0.0))


def test_more_folds_than_rows_or_groups_are_an_error() -> None:
    with pytest.raises(DataError, match="data.folds: each fold needs a row. Received: data.folds=9, and 4 rows"):
        split(numbers(4), settings("random", folds=9, fold=0, test_split=0.0))
    with pytest.raises(DataError, match="need a group of 'c'. Received: 2 groups"):
        split(numbers(10, texts(*"ab" * 5)), settings("group", "c", folds=3, fold=0, test_split=0.0))


def test_a_source_with_validation_rows_of_its_own_has_no_folds() -> None:
    table = numbers(10, given={"val": np.array([0, 1])})
    with pytest.raises(DataError, match="has its validation rows already, and data.folds makes others"):
        split(table, settings("random", folds=3, fold=0))


def test_a_fold_is_recorded() -> None:
    rule = split(numbers(10), settings("random", folds=3, fold=0)).rule
    assert rule == {"by": "random", "fold": 0, "folds": 3, "folds_repeats": 1}
