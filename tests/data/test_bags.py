"""Lists of ids, of any length each, mean what texts of several words mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.config.column_kinds import TokensKind
from tfrun.data.arrays import StoredArray
from tfrun.data.bags import Bags, join_columns, without_spaces
from tfrun.data.encode import encode
from tfrun.data.fingerprint import fingerprint
from tfrun.data.found import describe_cut, find
from tfrun.data.integer_texts import IntegerTexts, empty_of
from tfrun.data.preprocessing import Preprocessing, fit
from tfrun.data.stored_texts import StoredTexts
from tfrun.data.table import Table

EMPTY = empty_of(np.int64)
LISTS = [[12, 873], [], [5], [12, EMPTY, 5, 12], [EMPTY], [9]]
TEXTS = np.array(["12 873", "", "5", "12 5 12", "", "9"], object)
TRAIN = np.arange(5)


def bags(of_texts: bool = False) -> Bags:
    ends = np.cumsum([len(ids) for ids in LISTS])
    bounds = np.stack([ends - [len(ids) for ids in LISTS], ends], axis=1)
    flat = np.array(sum(LISTS, []), np.int64)
    if not of_texts:
        return Bags(bounds, IntegerTexts(flat))
    values, codes = np.unique(flat, return_inverse=True)
    return Bags(bounds, StoredTexts(codes.astype(np.int32), ["" if x == EMPTY else str(x) for x in values]))


def table(cells: Any) -> Table:
    return Table({"bag": cells}, np.arange(float(len(cells))), "y", "regression", "rows")


@pytest.mark.parametrize("of_texts", [False, True])
def test_they_are_indexed_like_texts(of_texts: Any) -> None:
    cells = bags(of_texts)
    assert list(cells) == cells[:].tolist() == TEXTS.tolist()
    assert cells[np.array([3, 0, 3])].tolist() == ["12 5 12", "12 873", "12 5 12"]
    assert cells.are_empty(slice(0, 5)).tolist() == [False, True, False, False, True]
    assert cells.lengths(np.array([3, 4])).tolist() == [3, 0]
    assert cells.select(np.array([5, 0]))[:].tolist() == ["9", "12 873"]
    assert cells.without(frozenset({"12"}))[:].tolist() == ["873", "", "5", "5", "", "9"]
    assert fingerprint(table(cells)) == fingerprint(table(TEXTS))


KINDS = [TokensKind(length=2), TokensKind(length=5), TokensKind(length=3, max_ids=2), TokensKind(length=2, bins=7)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("of_texts", [False, True])
def test_they_learn_and_give_what_words_do(of_texts: Any, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, ids = both(TEXTS, kind)
    monkeypatch.setattr(Bags, "__getitem__", lambda self, rows: pytest.fail("texts of all rows are made"))
    learnt, encoded = both(bags(of_texts), kind)
    assert learnt.columns == expected.columns
    np.testing.assert_array_equal(encoded, ids)
    assert encoded.shape == (6, kind.length) and encoded.dtype == np.int32


def both(cells: Any, kind: TokensKind) -> tuple[Preprocessing, np.ndarray]:
    rows = table(cells)
    learnt = fit(rows, TRAIN, scale_target=True, kinds={"bag": kind})
    find(rows, learnt)
    inputs, _ = encode(rows, learnt)
    (num_ids, length) = learnt.features.tokens["bag"]
    assert length == kind.length and inputs["bag"].min() >= 0 and inputs["bag"].max() < num_ids
    return learnt, inputs["bag"]


@pytest.mark.parametrize("of_texts", [False, True])
def test_a_few_lists_are_looked_at_together(of_texts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = both(bags(of_texts), KINDS[0])
    monkeypatch.setattr("tfrun.data.bags.AT_ONCE_BYTES", 60)
    assert bags(of_texts).rows_at_once == 2
    learnt, ids = both(bags(of_texts), KINDS[0])
    assert learnt == expected[0]
    np.testing.assert_array_equal(ids, expected[1])


def test_the_ids_of_a_vocabulary_by_hand() -> None:
    # 12 is there three times and 5 twice, so they are 2 and 3; 873 is 4, and 9, which no training row has, is 1
    _, ids = both(bags(), TokensKind(length=3))
    assert ids.tolist() == [[2, 4, 0], [0, 0, 0], [3, 0, 0], [2, 3, 2], [0, 0, 0], [1, 0, 0]]


def test_hashed_words_have_ids_from_1_on_and_the_same_ones_alone_and_in_a_list() -> None:
    learnt, ids = both(bags(), TokensKind(length=3, bins=1000))
    assert learnt.features.tokens["bag"] == (1001, 3)
    assert (ids[:, 0] > 0).tolist() == [True, False, True, True, False, True]
    assert ids[3].tolist() == [ids[0, 0], ids[2, 0], ids[0, 0]] and ids[0, 2] == 0
    again = Preprocessing.from_json(learnt.to_json())
    assert again.columns == learnt.columns


def test_lists_that_are_cut_are_told() -> None:
    rows = table(bags())
    (said,) = describe_cut(rows, fit(rows, TRAIN, scale_target=True, kinds={"bag": TokensKind(length=2)}))
    assert said == (
        "column 'bag' of rows: 1 of 6 lists have more than 2 ids and are cut. "
        "To keep more: length in data.text or data.kinds"
    )
    assert not list(describe_cut(rows, fit(rows, TRAIN, scale_target=True, kinds={"bag": TokensKind(length=3)})))


def test_arrays_of_integers_can_be_bags() -> None:
    assert Bags.of_array(np.array([[1, 2], [3, 4]], np.int8))[:].tolist() == ["1 2", "3 4"]
    assert Bags.of_array(np.array([[2**64 - 2]], np.uint64))[:].tolist() == [str(2**64 - 2)]


def test_a_text_is_one_word_whatever_is_in_it() -> None:
    assert without_spaces(" Science  Fiction\t1 ") == "Science\u00a0\u00a0Fiction\u00a01"
    cells = Bags(np.array([[0, 2]]), StoredTexts(np.array([0, 1], np.int32), [without_spaces("Science Fiction"), "x"]))
    _, ids = both(cells.select(np.zeros(6, np.int64)), TokensKind(length=4))
    assert sorted(ids[0].tolist()) == [0, 0, 2, 3]


@pytest.mark.parametrize("of_texts", [False, True])
def test_columns_follow_each_other(of_texts: Any, tmp_path: Path) -> None:
    joined = join_columns([bags(of_texts), bags(), bags(of_texts)])
    assert isinstance(joined, Bags) and joined[:].tolist() == [*TEXTS] * 3
    assert join_columns([bags(), TEXTS])[:].tolist() == [*TEXTS, *TEXTS]
    np.asarray(bags().bounds).tofile(tmp_path / "bounds")
    stored = Bags(StoredArray(str(tmp_path / "bounds"), 0, shape=(6, 2), dtype=np.int64), bags(of_texts).flat)
    assert stored.is_stored and not stored.loaded().is_stored and stored[1:4].tolist() == TEXTS[1:4].tolist()
