"""A table of ten rows, small enough to work out every number."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.config.settings import DataSettings, HashEncoding, TextEncoding, TokensEncoding, VocabularyEncoding
from tfrun.data import preprocessing
from tfrun.data.arrays import StoredArray, blocks, load
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Features, Table
from tfrun.data.targets import TargetScale
from tfrun.engine.building.devices import dtype_policy
from tfrun.errors import DataError

SPLIT: dict[str, Any] = {"validation_split": 0.2, "test_split": 0.1, "seed": 0}
DATA = DataSettings(
    "homes",
    {},
    batch_size=2,
    validation_split=0.2,
    test_split=0.1,
    split_seed=0,
    target_scaling="standard",
    residency="auto",
    limit_rows=None,
    sample_weight=None,
    text={},
)
TRAIN = np.array([0, 1, 2, 3, 4, 5])


def fresh(table: Table) -> Table:
    """The same rows once more, for what takes a table's columns."""
    return dataclasses.replace(table, columns=dict(table.columns))


def text(*cells: str) -> np.ndarray:
    return np.array(cells, dtype=object)


def make_table(**changes: Any) -> Table:
    """Rows 6 to 9 are no training rows, and hold what must not be learnt from."""
    columns = {
        "size": np.array([1.0, 2.0, np.nan, 4.0, 5.0, 9.0, 1e6, 1e6, np.nan, 1e6]),
        "flat": np.full(10, 3.0),
        "city": text("b", "a", "", "b", "c", "b", "x", "x", "x", "x"),
    }
    target = np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 1e6, 1e6, 1e6, 1e6])
    return dataclasses.replace(Table(columns, target, "price", "regression", "homes.csv", first_line=2), **changes)


def test_rows_are_split_once_and_shuffled() -> None:
    splits = preprocessing.split_rows(100, **SPLIT)
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 70, "val": 20, "test": 10}
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(100))
    assert splits["test"].tolist() != sorted(splits["test"].tolist())
    assert all(rows.dtype == np.int32 for rows in splits.values())


def test_the_split_depends_on_split_seed_alone() -> None:
    again, other = preprocessing.split_rows(100, **SPLIT), preprocessing.split_rows(100, **SPLIT | {"seed": 1})
    for name, rows in preprocessing.split_rows(100, **SPLIT).items():
        assert rows.tolist() == again[name].tolist() != other[name].tolist()


def test_a_split_may_be_empty() -> None:
    splits = preprocessing.split_rows(10, **SPLIT | {"validation_split": 0.0, "test_split": 0.0})
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 10, "val": 0, "test": 0}


def test_limit_rows_is_of_the_training_rows() -> None:
    whole, limited = preprocessing.split_rows(100, **SPLIT), preprocessing.split_rows(100, **SPLIT | {"limit_rows": 7})
    assert limited["train"].tolist() == whole["train"][:7].tolist()
    assert limited["val"].tolist() == whole["val"].tolist() and limited["test"].tolist() == whole["test"].tolist()


def test_no_rows_left_to_train_on() -> None:
    with pytest.raises(DataError, match="no rows are left for training. Received: 3 rows, 1 val, 2 test"):
        preprocessing.split_rows(3, **SPLIT | {"validation_split": 0.4, "test_split": 0.59})


def test_fit_by_hand() -> None:
    fitted = preprocessing.fit(make_table(), TRAIN, scale_target=True)
    # 1 2 4 5 9 have the median 4; with it filled in, 1 2 4 4 5 9 have the mean 25/6
    filled = np.array([1, 2, 4, 4, 5, 9])
    assert fitted.medians == {"size": 4.0, "flat": 3.0}
    assert fitted.means == pytest.approx({"size": 25 / 6, "flat": 3.0})
    assert fitted.variances == pytest.approx({"size": np.sum((filled - 25 / 6) ** 2) / 6, "flat": 0.0})
    # deciles of six values lie at 0.5, 1, 1.5, … 4.5 in their order
    deciles = np.array([1.5, 2, 3, 4, 4, 4, 4.5, 5, 7]) - 25 / 6
    expected = np.unique(deciles / np.sqrt(fitted.variances["size"]))
    assert len(expected) == 7
    np.testing.assert_allclose(fitted.deciles["size"], expected)
    assert fitted.deciles["flat"] == [0.0]
    assert fitted.vocabularies == {"city": ["b", "a", "c"]}  # most frequent first, then by name; empty is no value
    # 2 4 4 4 5 5: mean 4, variance (4 + 1 + 1)/6
    assert fitted.target_mean == 4.0 and fitted.target_standard_deviation == pytest.approx(1.0)
    assert fitted.task == "regression" and fitted.classes == [] and fitted.num_outputs == 1
    assert fitted.target == TargetScale(4.0, fitted.target_standard_deviation)


def test_only_training_rows_are_learnt_from() -> None:
    table = make_table()
    poisoned = make_table(
        columns={
            name: np.concatenate([column[:6], np.array([np.nan, -1e30, 7.0, 8.0]) if name != "city" else text(*"pqrs")])
            for name, column in table.columns.items()
        },
        target=np.concatenate([table.target[:6], [-1e30, 0.0, 1.0, 2.0]]),
    )
    assert preprocessing.fit(poisoned, TRAIN, scale_target=True) == preprocessing.fit(table, TRAIN, scale_target=True)


def test_prepare_fits_on_its_training_split() -> None:
    table = make_table()
    rows = preprocessing.split_rows(10, **SPLIT)["train"]
    cells = table.columns["size"][rows]
    examples = preprocessing.prepare(table, DATA)
    assert examples.preprocessing.medians["size"] == np.median(cells[~np.isnan(cells)])
    assert examples.preprocessing.target_mean == pytest.approx(table.target[rows].mean())
    assert examples.splits["train"].tolist() == rows.tolist()
    assert len(examples.targets) == 10  # all splits lie in one array
    assert table.columns == {}  # nothing is kept twice


def test_prepare_evaluation_fits_nothing() -> None:
    table = make_table()
    fitted, digest = preprocessing.fit(table, TRAIN, scale_target=True), preprocessing.fingerprint(table)
    inputs, targets = preprocessing.encode(fresh(table), fitted)
    examples = preprocessing.prepare_evaluation(table, fitted)
    for key, expected in inputs.items():
        np.testing.assert_array_equal(examples.inputs[key], expected)
    np.testing.assert_array_equal(examples.targets, targets)
    assert (examples.preprocessing, examples.fingerprint, table.columns) == (fitted, digest, {})
    assert {name: rows.tolist() for name, rows in examples.splits.items()} == {
        "train": [0],
        "val": [],
        "test": list(range(10)),
    }


def test_encode() -> None:
    table = make_table()
    fitted = preprocessing.fit(table, TRAIN, scale_target=True)
    inputs, targets = preprocessing.encode(fresh(table), fitted)
    assert sorted(inputs) == ["categories", "numbers"]
    assert (inputs["numbers"].shape, inputs["numbers"].dtype.name) == ((10, 2), "float32")
    deviation = np.sqrt(np.sum((np.array([1, 2, 4, 4, 5, 9]) - 25 / 6) ** 2) / 6)
    expected = (np.array([1, 2, 4, 4, 5, 9]) - 25 / 6) / deviation
    np.testing.assert_allclose(inputs["numbers"][:6, 0], expected, rtol=1e-5)
    assert inputs["numbers"][8, 0] == inputs["numbers"][2, 0]  # empty is the training rows' median
    np.testing.assert_array_equal(inputs["numbers"][:, 1], 0)  # nothing to tell, and nothing to divide by
    assert inputs["categories"].dtype == np.int32
    assert inputs["categories"][:, 0].tolist() == [1, 2, 0, 1, 3, 1, 0, 0, 0, 0]  # empty and unseen are id 0
    assert (targets.shape, targets.dtype.name) == ((10, 1), "float32")
    np.testing.assert_allclose(targets[:6, 0], [-2, 0, 0, 0, 1, 1], rtol=1e-6)


def test_the_target_as_it_is() -> None:
    table = make_table()
    fitted = preprocessing.fit(table, TRAIN, scale_target=False)
    assert fitted.target == TargetScale(0.0, 1.0)
    _, targets = preprocessing.encode(fresh(table), fitted)
    assert targets[:6, 0].tolist() == [2, 4, 4, 4, 5, 5]


def test_a_constant_target_is_not_scaled() -> None:
    fitted = preprocessing.fit(make_table(target=np.full(10, 7.0)), TRAIN, scale_target=True)
    assert fitted.target == TargetScale(7.0, 1.0)


def test_features_for_the_model() -> None:
    fitted = preprocessing.fit(make_table(), TRAIN, scale_target=True)
    deciles = {name: tuple(edges) for name, edges in fitted.deciles.items()}
    assert fitted.features == Features(numbers=deciles, categories={"city": 4}, arrays={})


def test_columns_of_one_kind_alone() -> None:
    table = make_table()
    for name, key in (("size", "numbers"), ("city", "categories")):
        one = dataclasses.replace(table, columns={name: table.columns[name]})
        inputs, _ = preprocessing.encode(fresh(one), preprocessing.fit(one, TRAIN, scale_target=True))
        assert list(inputs) == [key]


def test_an_array_is_given_bare() -> None:
    images = np.arange(10 * 2 * 2, dtype=np.float64).reshape(10, 2, 2)
    table = make_table(columns={"image": images})
    fitted = preprocessing.fit(table, TRAIN, scale_target=True)
    assert fitted.features == Features({}, {}, {"image": (2, 2)})
    inputs, _ = preprocessing.encode(fresh(table), fitted)
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs, images)


def test_an_array_on_disk_stays_there(tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(10, 2, 2))
    images.tofile(tmp_path / "images")
    stored = StoredArray(str(tmp_path / "images"), 0, images.shape, images.dtype)
    examples = preprocessing.prepare(make_table(columns={"image": stored}), DATA)
    assert examples.inputs is stored
    assert examples.preprocessing.features == Features({}, {}, {"image": (2, 2)})
    assert examples.fingerprint == preprocessing.fingerprint(make_table(columns={"image": images}))


def test_encoded_rows_are_aligned() -> None:
    columns = make_table().columns | {"image": np.zeros((10, 2, 2), "uint8")}
    table = make_table(columns=columns)
    inputs, targets = preprocessing.encode(fresh(table), preprocessing.fit(table, TRAIN, scale_target=True))
    for array in (*inputs.values(), targets):
        assert array.ctypes.data % 64 == 0 and load(array, array.dtype) is array


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_blocks_do_not_show(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding and the fingerprint are those of all rows at once, whatever the size of a block."""
    generator = np.random.default_rng(0)
    columns = {
        "a": generator.normal(size=100),
        "b": np.where(generator.uniform(size=100) < 0.2, np.nan, 1.0),
        "c": text(*generator.choice(["", "red", "green"], 100)),
        "d": text(*generator.choice(list("abcdefgh"), 100)),
    }
    target = generator.normal(size=100) if task == "regression" else text(*generator.choice(list("xyz"), 100))
    table = make_table(columns=columns, target=target, task=task)
    fitted = preprocessing.fit(table, np.arange(50), scale_target=True)
    digest = hashlib.sha256()
    for name, column in [*columns.items(), ("price", target)]:
        digest.update(name.encode())
        digest.update("\0".join(column).encode() if column.dtype == object else column.tobytes())
    whole, targets = preprocessing.encode(fresh(table), fitted)
    monkeypatch.setattr(preprocessing, "BLOCK_BYTES", 50)
    monkeypatch.setattr(preprocessing, "blocks", lambda array, block_bytes=50: blocks(array, block_bytes))
    again, targets_again = preprocessing.encode(fresh(table), fitted)
    for key in ("numbers", "categories"):
        np.testing.assert_array_equal(again[key], whole[key])
    np.testing.assert_array_equal(targets_again, targets)
    assert preprocessing.fingerprint(table) == digest.hexdigest()


def test_a_class_that_a_later_block_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocessing, "blocks", lambda array: blocks(array, 16))
    test_a_class_that_the_training_rows_lack()


def test_an_array_with_nan() -> None:
    images = np.zeros((10, 2, 2))
    images[7, 1, 0] = np.nan
    with pytest.raises(DataError, match="homes.csv: nan or inf in row 7 of 'image'"):
        preprocessing.prepare(make_table(columns={"image": images}), DATA)


def test_arrays_beside_columns_keep_their_names() -> None:
    columns = {"image": np.zeros((10, 2, 2)), "size": np.arange(10.0)}
    table = make_table(columns=columns)
    inputs, _ = preprocessing.encode(fresh(table), preprocessing.fit(table, TRAIN, scale_target=True))
    assert {name: array.shape for name, array in inputs.items()} == {"image": (10, 2, 2), "numbers": (10, 1)}


def test_two_classes_are_one_output() -> None:
    table = make_table(task="classification", target=text("yes", "no", "no", "yes", *["no"] * 4, "yes", "no"))
    fitted = preprocessing.fit(table, TRAIN, scale_target=True)
    assert (fitted.classes, fitted.num_outputs) == (["no", "yes"], 1)
    assert fitted.target == TargetScale(0.0, 1.0)
    _, targets = preprocessing.encode(fresh(table), fitted)
    assert (targets.dtype.name, targets[:, 0].tolist()) == ("float32", [1, 0, 0, 1, 0, 0, 0, 0, 1, 0])


def test_more_classes_are_ids() -> None:
    table = make_table(task="classification", target=text(*"bacabcbbba"))
    fitted = preprocessing.fit(table, TRAIN, scale_target=True)
    assert (fitted.classes, fitted.num_outputs) == (["a", "b", "c"], 3)
    _, targets = preprocessing.encode(fresh(table), fitted)
    assert (targets.dtype.name, targets[:, 0].tolist()) == ("int32", [1, 0, 2, 0, 1, 2, 1, 1, 1, 0])


def test_a_class_that_the_training_rows_lack() -> None:
    table = make_table(task="classification", target=text(*"baaaba", "b", "new", "b", "a"))
    with pytest.raises(DataError, match=r"homes.csv:9: target 'price' is a class .* Received: 'new'. Known: a, b"):
        preprocessing.encode(fresh(table), preprocessing.fit(table, TRAIN, scale_target=True))


def test_a_single_class_in_the_training_rows() -> None:
    table = make_table(task="classification", target=text(*"aaaaaabbbb"))
    with pytest.raises(DataError, match="'price' must have 2 to 1000 classes in the training rows. Received: 1"):
        preprocessing.fit(table, TRAIN, scale_target=True)


@pytest.mark.parametrize(
    "column", [np.array([np.nan] * 6 + [1.0] * 4), text(*[""] * 6, *"abcd")], ids=["number", "text"]
)
def test_a_column_without_a_value_in_the_training_rows(column: np.ndarray) -> None:
    table = make_table(columns={"flat": np.arange(10.0), "hole": column})
    with pytest.raises(DataError, match="homes.csv: column 'hole' has no value in the training rows; leave it out"):
        preprocessing.fit(table, TRAIN, scale_target=True)


def test_a_missing_column() -> None:
    table = make_table()
    other = dataclasses.replace(table, columns={"size": table.columns["size"]})
    with pytest.raises(DataError, match="columns are missing. Received: size. Missing: flat, city"):
        preprocessing.encode(fresh(other), preprocessing.fit(table, TRAIN, scale_target=True))


def test_encoding_depends_on_the_row_alone() -> None:
    table = make_table()
    fitted = preprocessing.fit(table, TRAIN, scale_target=True)
    picked = np.array([7, 2, 5])
    columns = {name: column[picked] for name, column in table.columns.items()}
    one = dataclasses.replace(table, columns=dict(reversed(columns.items())), target=table.target[picked])
    whole, few = preprocessing.encode(fresh(table), fitted)[0], preprocessing.encode(fresh(one), fitted)[0]
    for key in ("numbers", "categories"):
        np.testing.assert_array_equal(whole[key][picked], few[key])


def test_json_round_trip() -> None:
    for table in (make_table(), make_table(task="classification", target=text(*"bacaböbbba"))):
        fitted = preprocessing.fit(table, TRAIN, scale_target=True)
        assert Preprocessing.from_json(fitted.to_json()) == fitted
        assert json.loads(fitted.to_json())["vocabularies"] == {"city": ["b", "a", "c"]}


def changed(column: np.ndarray, row: int, value: Any) -> np.ndarray:
    column = column.copy()
    column[row] = value
    return column


def test_fingerprint_is_of_the_contents() -> None:
    table = make_table()
    base = preprocessing.fingerprint(table)
    assert base == preprocessing.fingerprint(make_table(source="elsewhere.csv")) and len(base) == 64
    columns = table.columns
    others = [
        make_table(columns=columns | {"size": changed(columns["size"], 9, 1e6 + 1)}),
        make_table(columns=columns | {"size": changed(columns["size"], 8, 0.0)}),
        make_table(columns=columns | {"city": changed(columns["city"], 0, "B")}),
        make_table(columns=columns | {"city": changed(changed(columns["city"], 0, "ba"), 1, "")}),
        make_table(columns={("town" if name == "city" else name): column for name, column in columns.items()}),
        make_table(target=changed(table.target, 9, 0.0)),
        make_table(target_name="value"),
    ]
    assert len({base, *(preprocessing.fingerprint(other) for other in others)}) == 1 + len(others)


def test_numbers_are_standardized_in_full_precision() -> None:
    fitted = preprocessing.Preprocessing({"a": 0.0}, {"a": 100.123}, {"a": 2.5}, {"a": []}, {}, {}, "regression", [])
    with dtype_policy("mixed_bfloat16"):
        numbers = fitted.build_layers()["numbers"](np.array([[101.2345]], "float32"))
    assert float(numbers[0, 0]) == pytest.approx((101.2345 - 100.123) / 2.5**0.5, rel=1e-5)


WORDS = text("b a b", "a", "", "c  b", "a\ta b", "b", "z a", "y", "x", "w")
TOKENS: dict[str, TextEncoding] = {"review": TokensEncoding(length=3, max_ids=2)}


def reviews() -> Table:
    return make_table(columns={"review": WORDS, "city": make_table().columns["city"]})


def test_words_become_ids_in_their_order() -> None:
    fitted = preprocessing.fit(reviews(), TRAIN, True, TOKENS)
    # a: 4 times in the training rows, b: 5, c: 1, which is cut off; 0 fills, 1 is unseen
    assert fitted.tokens == {"review": ["b", "a"]}
    assert fitted.features.tokens == {"review": (4, 3)}
    inputs, _ = preprocessing.encode(reviews(), fitted)
    assert inputs.keys() == {"review", "categories"}
    expected = [[2, 3, 2], [3, 0, 0], [0, 0, 0], [1, 2, 0], [3, 3, 2], [2, 0, 0], [1, 3, 0]] + 3 * [[1, 0, 0]]
    assert inputs["review"].dtype == np.int32
    np.testing.assert_array_equal(inputs["review"], expected)
    assert Preprocessing.from_json(fitted.to_json()) == fitted


def test_hashed_texts_share_ids_and_empty_is_0() -> None:
    fitted = preprocessing.fit(reviews(), TRAIN, True, {"city": HashEncoding(bins=4), **TOKENS})
    assert fitted.features.categories == {"city": 5}
    ids = preprocessing.encode(reviews(), fitted)[0]["categories"][:, 0]
    cities = reviews().columns["city"]
    assert ids[2] == 0 and ids.min() >= 0 and ids.max() <= 4
    assert len(set(ids[cities == "b"])) == 1
    assert (ids[cities != ""] > 0).all()


def test_a_vocabulary_may_be_cut() -> None:
    fitted = preprocessing.fit(reviews(), TRAIN, True, {"city": VocabularyEncoding(max_ids=1), **TOKENS})
    assert fitted.vocabularies == {"city": ["b"]}


def test_an_unknown_text_column_is_told() -> None:
    with pytest.raises(
        DataError, match="data.text: no such text column. Received: 'citi'. Known: flat_city, city. Did"
    ):
        table = make_table(columns={"flat_city": text(*"abcdefghij"), **make_table().columns})
        preprocessing.fit(table, TRAIN, True, {"citi": HashEncoding(bins=4)})
