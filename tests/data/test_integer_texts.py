"""Whole numbers that are ids stay integers, and mean what their texts mean."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.config.column_kinds import CategoryKind, HashedKind
from tfrun.data.arrays import StoredArray
from tfrun.data.bags import join_columns
from tfrun.data.encode import encode
from tfrun.data.fingerprint import fingerprint
from tfrun.data.found import find
from tfrun.data.integer_texts import (
    IntegerPlaces,
    IntegerSink,
    IntegerTexts,
    as_integers,
    empty_of,
    integer_of,
    most_counted,
)
from tfrun.data.kinds import CategoryColumn, RawColumn, fit_column
from tfrun.data.preprocessing import Preprocessing, fit
from tfrun.data.samples import Samples
from tfrun.data.splitting.parts import codes_of
from tfrun.data.table import Table
from tfrun.data.unseen import unseen_rows
from tfrun.errors import DataError

EMPTY = empty_of(np.int64)
IDS = [7, -3, EMPTY, 2**60 + 1, 7, 0, 12, 2**60 + 1, 2**60 + 1, EMPTY]
TEXTS = np.array([*["7", "-3"], "", str(2**60 + 1), "7", "0", "12", str(2**60 + 1), str(2**60 + 1), ""], object)
TRAIN = np.arange(8)


def integers(*missing: int) -> IntegerTexts:
    return IntegerTexts(np.array(IDS), missing)


def table(cells: Any) -> Table:
    return Table({"id": cells}, np.arange(10.0), "y", "regression", "rows")


def test_they_are_indexed_like_texts() -> None:
    cells = integers()
    assert (cells.ndim, cells.dtype, cells.shape, len(cells)) == (1, np.dtype(object), (10,), 10)
    assert cells[2:5].tolist() == ["", str(2**60 + 1), "7"] and all(type(text) is str for text in cells[:])
    assert cells[np.array([6, 0])].tolist() == ["12", "7"]
    assert list(cells) == np.asarray(cells).tolist() == TEXTS.tolist()
    assert cells.are_empty(slice(0, 4)).tolist() == [False, False, True, False]
    assert cells.select(np.array([9, 1]))[:].tolist() == ["", "-3"]
    assert cells.without(frozenset({"7", "x", "007"}))[:2].tolist() == ["", "-3"]


def test_numbers_of_64_bits_without_a_sign() -> None:
    cells = IntegerTexts(np.array([2**64 - 2, 2**64 - 1, 5], np.uint64))
    assert cells[:].tolist() == [str(2**64 - 2), "", "5"]
    assert IntegerPlaces(["5", str(2**64 - 2)], np.uint64).of(cells.read(slice(0, 3))).tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("0", 0), ("-3", -3), (str(2**64 - 2), 2**64 - 2), (str(1 - 2**63), 1 - 2**63)],
        *[(text, None) for text in ("", "007", "+7", "-0", "7.0", " 7", "7e1", "٧", str(2**64 - 1), str(-(2**63)))],
    ],
)
def test_only_what_a_number_is_spelt_like_is_one(text: str, number: int | None) -> None:
    assert integer_of(text) == number
    assert IntegerPlaces([text], np.int64).of(np.array([7])).tolist() == [-1]


@pytest.mark.parametrize(("dtype", "narrow"), [(np.int64, np.int32), (np.uint64, np.uint32)])
def test_integers_take_32_bits_as_long_as_these_hold_them(dtype: Any, narrow: Any) -> None:
    empty, limits = empty_of(dtype), np.iinfo(narrow)
    least, most = limits.min + (limits.kind == "i"), limits.max - (limits.kind == "u")
    for num_rows in (0, 2, 9):
        sink = IntegerSink(dtype, num_rows)
        for block in ([5, empty], [], [least, most, 0]):
            sink.append(np.array(block, dtype))
        kept = sink.finish()
        assert (kept.dtype, IntegerTexts(kept)[:].tolist()) == (narrow, ["5", "", str(least), str(most), "0"])
        for too_much in (int(empty_of(narrow)), most + 2):
            sink = IntegerSink(dtype, num_rows)
            for block in ([5, empty], [too_much], [empty, 7]):
                sink.append(np.array(block, dtype))
            kept = sink.finish()
            assert (kept.dtype, IntegerTexts(kept)[:].tolist()) == (dtype, ["5", "", str(too_much), "", "7"])
    joined = join_columns([IntegerTexts(np.array([5, empty_of(narrow)], narrow)), IntegerTexts(np.array([6], dtype))])
    assert joined.numbers.dtype == dtype and joined[:].tolist() == ["5", "", "6"]


def test_numbers_of_a_table_that_are_ids() -> None:
    floats, others = as_integers(np.array([3.0, np.nan, -2.0])), (np.array([0.5]), np.array([2.0**54]))
    assert floats is not None and floats[:].tolist() == ["3", "", "-2"]
    assert [as_integers(cells) for cells in (*others, np.array([EMPTY]))] == [None] * 3
    large = as_integers(np.array([2**64 - 2], np.uint64))
    assert large is not None and large[:].tolist() == [str(2**64 - 2)]


def test_the_fingerprint_is_that_of_the_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fingerprint(table(TEXTS))
    assert fingerprint(table(integers())) == expected
    assert hashlib.sha256(b"id" + "\0".join(TEXTS).encode()).hexdigest() != expected  # it has the target too
    monkeypatch.setattr("tfrun.data.arrays.BLOCK_BYTES", 24)
    assert fingerprint(table(integers())) == expected


def test_different_numbers_are_counted_in_blocks() -> None:
    rows = [np.array([0, 1, 2]), np.array([3, 4, 5, 6]), np.array([7])]
    values, counts = integers().counts(rows)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {-3: 1, 0: 1, 7: 2, 12: 1, 2**60 + 1: 2}
    # of the ones that are there once, the order of their texts decides later, so all of them are kept
    assert most_counted(values, counts, max_ids=3) == {"-3": 1, "0": 1, "7": 2, "12": 1, str(2**60 + 1): 2}
    assert most_counted(values, counts, max_ids=2) == {"7": 2, str(2**60 + 1): 2}
    assert most_counted(values, counts, max_ids=None, min_count=2) == {"7": 2, str(2**60 + 1): 2}


@pytest.mark.parametrize("kind", [CategoryKind(), CategoryKind(max_ids=3), CategoryKind(min_count=2), HashedKind(5)])
def test_columns_learn_and_give_what_those_of_texts_do(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, ids = both(TEXTS, kind)
    monkeypatch.setattr(IntegerTexts, "__getitem__", lambda self, rows: pytest.fail("texts of all rows are made"))
    learnt, encoded = both(integers(), kind)
    assert learnt.columns == expected.columns
    np.testing.assert_array_equal(encoded, ids)
    assert encoded.dtype == np.int32 and (encoded[[2, 9]] == 0).all()


def both(cells: Any, kind: Any) -> tuple[Preprocessing, np.ndarray]:
    rows = table(cells)
    learnt = fit(rows, TRAIN, scale_target=True, kinds={"id": kind})
    find(rows, learnt)
    inputs, _ = encode(rows, learnt)
    return learnt, inputs["categories"]


def test_hashed_numbers_are_within_the_table_of_ids() -> None:
    numbers = np.random.default_rng(0).integers(-(2**62), 2**62, 5000)
    rows = Table({"id": IntegerTexts(numbers)}, np.zeros(5000), "y", "regression", "rows")
    learnt = fit(rows, TRAIN, scale_target=True, kinds={"id": HashedKind(10_000_000)})
    ids = encode(rows, learnt)[0]["categories"][:, 0]
    expected = keras.layers.Hashing(10_000_001, mask_value="")(tf.constant([str(number) for number in numbers]))
    np.testing.assert_array_equal(ids, expected)
    (num_ids,) = learnt.features.categories.values()
    assert num_ids == 10_000_001 and ids.min() >= 1 and ids.max() < num_ids


def test_unseen_numbers_have_no_id_of_their_own_and_are_counted() -> None:
    rows = table(integers())
    learnt = fit(rows, TRAIN, scale_target=True, kinds={"id": CategoryKind()})
    further = Table({"id": IntegerTexts(np.array([7, 8, EMPTY, -(2**62)]))}, np.zeros(4), "y", "regression", "more")
    assert unseen_rows(further, learnt)["id"].tolist() == [False, True, False, True]
    ids = encode(further, learnt)[0]["categories"][:, 0]
    assert ids[0] in (1, 2) and ids[1:].tolist() == [0, 0, 0]


def test_a_count_that_no_number_reaches_is_an_error() -> None:
    with pytest.raises(DataError, match="min_count: no value is in that many .* Received: 3; the most frequent one"):
        fit_column(RawColumn("id", integers(), TRAIN, "rows"), CategoryKind(min_count=3))
    with pytest.raises(DataError, match="column 'id' has no value in the training rows"):
        fit_column(RawColumn("id", integers(), np.array([2, 9]), "rows"), CategoryKind())


def test_sample_rows_have_their_texts() -> None:
    samples = Samples.take(table(integers()), {"train": TRAIN, "val": np.array([8]), "test": np.array([3])})
    assert samples.columns["id"][:2].tolist() == [str(2**60 + 1)] * 2
    Samples.from_json(samples.to_json()).check_fits([CategoryColumn("id", ("7",))])


def test_they_are_grouped_by_what_they_are() -> None:
    codes, values = codes_of(integers(), np.array([3, 0, 2, 4, 7]))
    assert (codes.tolist(), values) == ([0, 1, 2, 1, 0], [str(2**60 + 1), "7", ""])


def test_columns_on_disk_stay_there(tmp_path: Path) -> None:
    np.array(IDS).tofile(tmp_path / "ids")
    stored = IntegerTexts(StoredArray(str(tmp_path / "ids"), 0, shape=(10,), dtype=np.int64))
    assert stored.is_stored and stored.memory_bytes == 0 and not stored.loaded().is_stored
    assert stored[:].tolist() == TEXTS.tolist() and stored.select(np.array([1])).is_stored
    joined = join_columns([stored, integers()])
    assert isinstance(joined, IntegerTexts) and joined.is_stored and joined[:].tolist() == [*TEXTS, *TEXTS]
    mixed = join_columns([integers(), TEXTS, integers(7)])
    assert mixed[:].tolist() == [*TEXTS, *TEXTS, *("" if text == "7" else text for text in TEXTS)]
