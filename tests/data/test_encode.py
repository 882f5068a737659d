"""Rows become arrays of numbers and ids, computed by hand."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from tfrun.config.data_settings import HashEncoding, TextEncoding, TokensEncoding
from tfrun.data import encode, layers
from tfrun.data.arrays import blocks, load
from tfrun.data.kinds import NumberColumn
from tfrun.data.kinds.inputs import EPSILON
from tfrun.data.preprocessing import Preprocessing, fit
from tfrun.data.table import Table, Target
from tfrun.errors import DataError

TRAIN = np.arange(6)
DEVIATION = np.sqrt(np.sum((np.array([1, 2, 4, 4, 5, 9]) - 25 / 6) ** 2) / 6)
TOKENS: dict[str, TextEncoding] = {"review": TokensEncoding(length=3, max_ids=2)}


def text(*cells: str) -> np.ndarray:
    return np.array(cells, dtype=object)


def fitted(table: Table, text: dict[str, TextEncoding] | None = None) -> Preprocessing:
    return fit(table, TRAIN, scale_target=True, text=text or {})


def encoded(table: Table, text: dict[str, TextEncoding] | None = None) -> tuple[Any, Any]:
    return encode.encode(table, fitted(table, text))


def test_numbers_are_imputed_and_standardized(homes: Callable[..., Table]) -> None:
    inputs, _ = encoded(homes())
    numbers = inputs["numbers"]
    assert (numbers.shape, numbers.dtype.name) == ((10, 2), "float32")
    np.testing.assert_allclose(numbers[:6, 0], (np.array([1, 2, 4, 4, 5, 9]) - 25 / 6) / DEVIATION, rtol=1e-5)
    assert numbers[8, 0] == numbers[2, 0]  # empty is the training rows' median
    np.testing.assert_array_equal(numbers[:, 1], 0)  # a constant has nothing to be divided by


def test_the_least_deviation_is_keras_own() -> None:
    assert keras.config.epsilon() == EPSILON


def test_numbers_are_standardized_in_full_precision() -> None:
    with layers.dtype_policy("mixed_bfloat16"):
        model = layers.numbers_model([NumberColumn("a", 0.0, 100.123, 2.5, ())])
        numbers = model(np.array([[101.2345]], "float32"))
    assert float(numbers[0, 0]) == pytest.approx((101.2345 - 100.123) / 2.5**0.5, rel=1e-5)


def test_numbers_far_from_0_keep_their_differences(homes: Callable[..., Table]) -> None:
    size = homes().columns["size"]
    near, _ = encoded(homes(columns={"size": size, "flat": np.full(10, 3.0)}))
    shifted = {"size": size, "far": 1.7e9 + size / 1000, "small": 1e-12 * size}
    far, _ = encoded(homes(columns={"far": shifted["far"], "flat": np.full(10, 3.0)} | shifted))
    assert far["numbers"].dtype == np.float32
    order = ["far", "flat", "size", "small"]
    for k, name in enumerate(order[:4]):
        if name in ("far", "small"):
            # 1.7e9 has steps of 2.4e-7 in float64
            np.testing.assert_allclose(far["numbers"][:, k], near["numbers"][:, 0], rtol=2e-4, atol=2e-4)
    # the same bits as beside columns that need no float64
    np.testing.assert_array_equal(far["numbers"][:, 2], near["numbers"][:, 0])


def test_an_unseen_number_of_a_constant_is_not_far_away(homes: Callable[..., Table]) -> None:
    flat = np.array([0.1] * 9 + [0.3])
    inputs, _ = encoded(homes(columns={"flat": flat}))
    np.testing.assert_allclose(inputs["numbers"][:, 0], [0.0] * 9 + [0.2], atol=1e-7)


def test_texts_become_ids_and_unseen_and_empty_ones_0(homes: Callable[..., Table]) -> None:
    inputs, _ = encoded(homes())
    assert (inputs["categories"].shape, inputs["categories"].dtype) == ((10, 1), np.int32)
    assert inputs["categories"][:, 0].tolist() == [1, 2, 0, 1, 3, 1, 0, 0, 0, 0]


def test_hashed_texts_share_ids_and_empty_is_0(reviews: Callable[[], Table]) -> None:
    cities = reviews().columns["city"]
    ids = encoded(reviews(), {"city": HashEncoding(bins=4), **TOKENS})[0]["categories"][:, 0]
    assert ids[2] == 0 and ids.max() <= 4
    assert len(set(ids[cities == "b"])) == 1
    assert (ids[cities != ""] > 0).all()


def test_words_become_ids_in_their_order(reviews: Callable[[], Table]) -> None:
    inputs, _ = encoded(reviews(), TOKENS)
    assert list(inputs) == ["categories", "review"]
    # b is 2 and a is 3; 0 is padding and 1 unseen
    expected = [[2, 3, 2], [3, 0, 0], [0, 0, 0], [1, 2, 0], [3, 3, 2], [2, 0, 0], [1, 3, 0]] + 3 * [[1, 0, 0]]
    assert inputs["review"].dtype == np.int32
    np.testing.assert_array_equal(inputs["review"], expected)


@pytest.mark.parametrize(("name", "key"), [("size", "numbers"), ("city", "categories")])
def test_columns_of_one_kind_alone(name: str, key: str, homes: Callable[..., Table]) -> None:
    inputs, _ = encoded(homes(columns={name: homes().columns[name]}))
    assert list(inputs) == [key]


def test_a_single_array_is_given_bare(homes: Callable[..., Table]) -> None:
    images = np.arange(10 * 2 * 2, dtype=np.float64).reshape(10, 2, 2)
    inputs, _ = encoded(homes(columns={"image": images}))
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs, images)


def test_arrays_beside_columns_keep_their_names(homes: Callable[..., Table]) -> None:
    inputs, _ = encoded(homes(columns={"size": np.arange(10.0), "image": np.zeros((10, 2, 2))}))
    assert {name: array.shape for name, array in inputs.items()} == {"image": (10, 2, 2), "numbers": (10, 1)}


def test_encoded_rows_are_aligned(homes: Callable[..., Table]) -> None:
    inputs, targets = encoded(homes(columns=homes().columns | {"image": np.zeros((10, 2, 2), "uint8")}))
    for array in (*inputs.values(), targets):
        assert array.ctypes.data % 64 == 0 and load(array, array.dtype) is array


def test_raw_columns_are_freed_before_the_encoded_ones_are_made(
    homes: Callable[..., Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`give_back` is called just before numbers, and then categories, are put beside each other."""
    table = homes()
    preprocessing = fitted(table)
    alive = {name: weakref.ref(column) for name, column in table.columns.items()}
    seen: list[list[str]] = []
    monkeypatch.setattr(
        encode, "give_back", lambda: seen.append([name for name, column in alive.items() if column() is not None])
    )
    encode.encode(table, preprocessing)
    assert seen == [["city"], []]
    assert table.columns == {}


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_the_size_of_a_block_does_not_show(
    task: str, homes: Callable[..., Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    cells = {
        "a": generator.normal(size=100),
        "b": np.where(generator.uniform(size=100) < 0.2, np.nan, 1.0),
        "c": text(*generator.choice(["", "red", "green"], 100)),
        "d": text(*generator.choice(list("abcdefgh"), 100)),
        "e": text(*generator.choice(["a b", "b", "c a b"], 100)),
    }
    target = generator.normal(size=100) if task == "regression" else text(*generator.choice(list("xyz"), 100))
    encoding: dict[str, TextEncoding] = {"e": TokensEncoding(length=2)}
    whole, targets = encoded(homes(columns=dict(cells), target=target, task=task), encoding)
    monkeypatch.setattr(encode, "BLOCK_BYTES", 50)
    monkeypatch.setattr(encode, "blocks", lambda array, block_bytes=50: blocks(array, block_bytes))
    again, targets_again = encoded(homes(columns=dict(cells), target=target, task=task), encoding)
    for key in ("numbers", "categories", "e"):
        np.testing.assert_array_equal(again[key], whole[key])
    np.testing.assert_array_equal(targets_again, targets)


def test_a_row_is_encoded_by_itself(homes: Callable[..., Table]) -> None:
    preprocessing = fitted(homes())
    picked = np.array([7, 2, 5])
    cells = {name: column[picked] for name, column in reversed(homes().columns.items())}
    few, _ = encode.encode(homes(columns=cells, target=homes().target[picked]), preprocessing)
    whole, _ = encode.encode(homes(), preprocessing)
    for key in ("numbers", "categories"):
        np.testing.assert_array_equal(whole[key][picked], few[key])


def test_a_missing_column_is_an_error(homes: Callable[..., Table]) -> None:
    table = homes(columns={"size": homes().columns["size"]})
    with pytest.raises(DataError, match="columns are missing. Received: size. Missing: flat, city"):
        encode.encode(table, fitted(homes()))


def test_texts_where_numbers_were_are_an_error(homes: Callable[..., Table]) -> None:
    table = homes(columns=homes().columns | {"size": homes().columns["city"]})
    with pytest.raises(DataError, match="homes.csv: column 'size' must hold numbers, as it did in training"):
        encode.encode(table, fitted(homes()))


def test_a_number_target_is_standardized(homes: Callable[..., Table]) -> None:
    _, targets = encoded(homes())
    assert (targets.shape, targets.dtype.name) == ((10, 1), "float32")
    np.testing.assert_allclose(targets[:6, 0], [-2, 0, 0, 0, 1, 1], rtol=1e-6)


def test_a_number_target_may_stay_as_it_is(homes: Callable[..., Table]) -> None:
    _, targets = encode.encode(homes(), fit(homes(), TRAIN, scale_target=False))
    assert targets[:6, 0].tolist() == [2, 4, 4, 4, 5, 5]


def test_two_classes_are_the_numbers_0_and_1(homes: Callable[..., Table]) -> None:
    labels = text("yes", "no", "no", "yes", *["no"] * 4, "yes", "no")
    _, targets = encoded(homes(task="classification", target=labels))
    assert (targets.dtype.name, targets[:, 0].tolist()) == ("float32", [1, 0, 0, 1, 0, 0, 0, 0, 1, 0])


def test_more_classes_are_ids(homes: Callable[..., Table]) -> None:
    _, targets = encoded(homes(task="classification", target=text(*"bacabcbbba")))
    assert (targets.dtype.name, targets[:, 0].tolist()) == ("int32", [1, 0, 2, 0, 1, 2, 1, 1, 1, 0])


def test_several_targets_are_by_output(homes: Callable[..., Table]) -> None:
    kind = Target(text(*"bacabcbbba"), "classification")
    _, targets = encoded(homes(others={"kind": kind}))
    assert list(targets) == ["output", "kind"]
    np.testing.assert_allclose(targets["output"][:6, 0], [-2, 0, 0, 0, 1, 1], rtol=1e-6)
    assert targets["kind"][:, 0].tolist() == [1, 0, 2, 0, 1, 2, 1, 1, 1, 0]


@pytest.mark.parametrize("block_bytes", [2**20, 16])
def test_a_class_that_the_training_rows_lack_is_an_error(
    block_bytes: int, homes: Callable[..., Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode, "blocks", lambda array: blocks(array, block_bytes))
    table = homes(task="classification", target=text(*"baaaba", "b", "new", "b", "a"))
    with pytest.raises(DataError, match=r"homes.csv:9: target 'price' is a class .* Received: 'new'. Known: a, b"):
        encoded(table)
    assert list(table.columns) == ["size", "flat", "city"]  # nothing was released


def test_cells_inside_an_exported_model_give_what_the_table_gives(reviews: Callable[[], Table]) -> None:
    both = dataclasses.replace(
        reviews(),
        columns=reviews().columns | {"size": np.arange(10.0), "day": 1.7e9 + np.arange(10.0), "flat": np.ones(10)},
    )
    preprocessing = fitted(both, TOKENS)
    cells = {
        column.name: keras.Input(column.raw_shape, dtype=column.raw_dtype("float32"), name=column.name)
        for column in preprocessing.columns
    }
    model = keras.Model(cells, layers.encode_tensors(cells, preprocessing))
    raw = {column.name: column.raw(both.columns[column.name], "float32") for column in preprocessing.columns}
    outputs = model({name: keras.ops.convert_to_tensor(values) for name, values in raw.items()})
    inputs, _ = encode.encode(both, preprocessing)
    assert outputs.keys() == inputs.keys()
    for name, expected in inputs.items():
        np.testing.assert_array_equal(outputs[name], expected)
