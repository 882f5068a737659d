"""The raw rows that a run keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tfrun.data import samples
from tfrun.data.arrays import StoredArray
from tfrun.data.samples import Samples
from tfrun.data.table import Table

SPLITS = {"train": np.array([7, 3, 5, 9, 0, 8, 1]), "val": np.array([4, 6]), "test": np.array([2])}


def test_test_rows_come_first_and_targets_and_weights_are_left_out(homes: Callable[..., Table]) -> None:
    taken = Samples.take(homes(weights=np.ones(10)), SPLITS)
    assert taken.rows.tolist() == [2, 4, 6, 7, 3, 5, 9, 0, 8, 1]
    assert list(taken.columns) == ["size", "flat", "city"]
    np.testing.assert_array_equal(taken.columns["size"][:4], [np.nan, 5.0, 1e6, 1e6])
    assert taken.columns["city"][:4].tolist() == ["", "c", "x", "x"]


def test_they_are_copies(homes: Callable[..., Table]) -> None:
    table = homes()
    taken = Samples.take(table, SPLITS)
    table.columns["flat"][2] = -1.0
    assert taken.columns["flat"][0] == 3.0
    table.release("size")
    with pytest.raises(RuntimeError, match="columns were released already"):
        Samples.take(table, SPLITS)


def test_they_are_64_at_most_and_take_4_mib_at_most(homes: Callable[..., Table]) -> None:
    splits = {"test": np.arange(70), "val": np.arange(0), "train": np.arange(0)}
    many = homes(columns={"x": np.arange(70.0)}, target=np.zeros(70))
    assert Samples.take(many, splits).rows.tolist() == list(range(64))
    images = homes(columns={"image": np.zeros((70, 256, 1024), np.float32)}, target=np.zeros(70))  # a MiB each
    assert Samples.take(images, splits).rows.tolist() == [0, 1, 2, 3]
    texts = homes(columns={"text": np.array(["a" * 3 * 2**20, "b" * 2**20] * 35, dtype=object)}, target=np.zeros(70))
    assert Samples.take(texts, splits).rows.tolist() == [0, 1]


def test_a_row_that_is_too_large_is_not_kept(homes: Callable[..., Table], monkeypatch: pytest.MonkeyPatch) -> None:
    assert Samples.take(homes(), SPLITS).may_be_kept and not Samples.none().may_be_kept
    monkeypatch.setattr(samples, "MAX_BYTES", 10)
    taken = Samples.take(homes(), SPLITS)
    assert len(taken.rows) == 1 and not taken.may_be_kept


def test_every_cell_comes_back_from_the_file(homes: Callable[..., Table], tmp_path: Path) -> None:
    stored = np.arange(40, dtype=np.uint8).reshape(10, 2, 2)
    stored.tofile(tmp_path / "images")
    columns = {
        "number": np.array([0.1, np.nan, 1e300, -0.0, 1 / 3, *np.ones(5)]),
        "text": np.array(["größe", "", "a,b\n", "1", "nan", "\0", *"abcd"], dtype=object),
        "image": StoredArray(str(tmp_path / "images"), 0, shape=(10, 2, 2), dtype=np.uint8),
        "scan": np.linspace(0, 1, 30, dtype=np.float32).reshape(10, 3),
    }
    taken = Samples.take(homes(columns=columns), SPLITS)
    again = Samples.from_json(taken.to_json())
    assert again.rows.tolist() == taken.rows.tolist()
    assert list(again.columns) == list(columns)
    for name, cells in taken.columns.items():
        assert again.columns[name].dtype == cells.dtype
        np.testing.assert_array_equal(again.columns[name], cells)
    assert again.columns["image"][0].tolist() == [[8, 9], [10, 11]]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [0], "columns": {"a": {"dtype": "O", "shape": [1]}}}'])
def test_another_file_is_none_of_samples(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Samples.from_json(text)
