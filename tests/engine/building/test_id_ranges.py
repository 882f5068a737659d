"""Ids that a table has no row for are refused on the host, whichever way they reach the table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.layers.bag import EmbeddingBag
from tfrun.components.layers.lookup import Lookup
from tfrun.data.arrays import BLOCK_BYTES, StoredArray
from tfrun.data.examples import Examples
from tfrun.data.kinds import ArrayColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.data.targets import FittedTarget
from tfrun.engine.building.id_ranges import check_ids, recorded_lookups
from tfrun.errors import DataError

layers = keras.layers
IDS = np.arange(18).reshape(6, 3) % 10  # ids 0 to 9


def with_id(row: int, place: int, value: float, dtype: str = "float32") -> np.ndarray:
    """Returns the ids, one of them replaced."""
    ids = IDS.astype(dtype)
    ids[row, place] = value
    return ids


def check(model: keras.Model, *, first_row: int = 0, **columns: Any) -> None:
    fitted = Preprocessing(
        columns=tuple(ArrayColumn(name, array.shape[1:]) for name, array in columns.items()),
        targets={"output": FittedTarget("regression")},
    )
    inputs = columns if len(columns) > 1 else next(iter(columns.values()))
    examples = Examples(inputs, np.zeros((6, 1), "float32"), {}, fitted, "")
    table = Table({}, np.zeros(6), target_name="y", task="regression", source="ids.npz", first_row=first_row)
    check_ids(model, examples, table)


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.table = layers.Embedding(10, 2, name="table")

    def call(self, inputs: Any) -> Any:
        return self.table(tf.reshape(inputs, [-1, 3, 1]))


MODELS: dict[str, Callable[[], keras.Model]] = {
    "embedding": lambda: keras.Sequential([keras.Input((3,)), layers.Embedding(10, 2, name="table")]),
    "lookup": lambda: keras.Sequential([keras.Input((3,), dtype="int32"), Lookup(10, 2, name="table")]),
    "bag": lambda: keras.Sequential([keras.Input((3,)), EmbeddingBag(10, 2, name="table")]),
    "behind other layers": lambda: keras.Sequential(
        [keras.Input((3,)), layers.Reshape((3, 1)), layers.Flatten(), layers.Embedding(10, 2, name="table")]
    ),
    "inside of a model": lambda: keras.Sequential(
        [keras.Input((3,)), keras.Sequential([layers.Embedding(10, 2, name="table")])]
    ),
    "subclassed": Subclassed,
}


@pytest.mark.parametrize("name", MODELS)
def test_an_id_without_a_row_is_refused(name: str) -> None:
    model = MODELS[name]()
    check(model, x=IDS.astype("float32"))
    for row, value in ((4, 10), (5, -1), (0, 2**24)):
        with pytest.raises(DataError) as refused:
            check(model, first_row=100, x=with_id(row, 2, value))
        assert str(refused.value) == (
            f"ids.npz: column 'x': the id in row {100 + row} is out of range. Received: {value}. The table of the "
            "model's layer 'table' has rows for the ids 0 to 9"
        )


def test_what_comes_after_the_point_is_cut_off_as_in_the_layer() -> None:
    model = MODELS["embedding"]()
    check(model, x=with_id(1, 0, 9.75))
    check(model, x=with_id(1, 0, -0.5))
    with pytest.raises(DataError, match=r"column 'x': the id in row 1 is out of range\. Received: 10\."):
        check(model, x=with_id(1, 0, 10.5))


def test_only_ids_that_are_looked_up_count() -> None:
    inputs = keras.Input((3,))
    hashed = layers.Embedding(10, 2)(keras.ops.mod(inputs, 10))
    check(keras.Model(inputs, hashed), x=with_id(3, 1, 1000))
    first = layers.Embedding(10, 2, name="first")(inputs[:, 0])
    second = layers.Embedding(1000, 2, name="second")(inputs[:, 1])
    model = keras.Model(inputs, [first, second])
    check(model, x=with_id(3, 1, 999))
    check(model, x=with_id(3, 2, 1e6))  # no table's
    with pytest.raises(DataError, match=r"row 3 .* Received: 999\. .* 'first' has rows for the ids 0 to 9$"):
        check(model, x=with_id(3, 0, 999))
    with pytest.raises(DataError, match=r"row 2 .* Received: 1000\. .* 'second' has rows for the ids 0 to 999$"):
        check(model, x=np.where(IDS == 7, 1000, IDS).astype("float32"))
    check(keras.Sequential([keras.Input((3,)), layers.Dense(1)]), x=with_id(3, 1, 1000))


def test_the_column_with_the_id_is_named() -> None:
    inputs = {name: keras.Input((3,), name=name) for name in ("a", "b")}
    model = keras.Model(inputs, layers.Embedding(10, 2, name="table")(inputs["b"]))
    check(model, a=with_id(2, 0, 50), b=IDS.astype("float32"))
    with pytest.raises(DataError, match=r"column 'b': the id in row 2 is out of range\. Received: 12\."):
        check(model, a=with_id(1, 0, 50), b=with_id(2, 0, 12))


def test_an_array_on_disk_is_read_in_blocks(tmp_path: Path) -> None:
    ids = np.zeros((70_000, 3), np.int64)
    ids[[60_000, 69_000], 1] = -3
    assert ids[:60_000].nbytes > BLOCK_BYTES
    path = tmp_path / "ids.bin"
    path.write_bytes(ids.tobytes())
    stored = StoredArray(str(path), 0, shape=ids.shape, dtype=ids.dtype)
    with pytest.raises(DataError, match=r"column 'x': the id in row 60000 is out of range\. Received: -3\."):
        check(MODELS["embedding"](), x=stored)


def test_a_layer_is_as_before_once_its_lookups_were_recorded() -> None:
    model = MODELS["embedding"]()
    (layer,) = model.layers
    before = model(IDS).numpy()
    with recorded_lookups(model) as reads:
        outside = model(with_id(0, 0, 99)).numpy()
    assert "call" not in vars(layer)
    np.testing.assert_array_equal(outside[0, 0], layer.get_weights()[0][9])
    assert reads[0].ids.tolist() == with_id(0, 0, 99).tolist()
    np.testing.assert_array_equal(model(IDS).numpy(), before)
