"""Compares the examples that a feed provides with the rows themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf

from tfrun.data.arrays import StoredArray
from tfrun.data.examples import Examples
from tfrun.data.window_array import WindowArray
from tfrun.engine.training.batches import gather
from tfrun.engine.training.feed import Feed, Resident, Stream, bytes_to_load, data_bytes, sample
from tfrun.engine.training.order import Order

ROWS = 23
X = {
    "numbers": np.arange(ROWS * 3, dtype=np.float32).reshape(ROWS, 3),
    "categories": (np.arange(ROWS, dtype=np.int32) % 5)[:, None],
}
Y = np.arange(ROWS, dtype=np.float32)[:, None]
EXAMPLES = Examples(X, Y, {}, cast(Any, None), "")
ORDER = Order(np.arange(20), 4, seed=3)  # five steps an epoch
ROW_BYTES = 3 * 4 + 4 + 4


def make(kind: str) -> Feed:
    if kind == "resident":
        return Resident(EXAMPLES, ORDER, strategy=tf.distribute.get_strategy())
    return Stream(EXAMPLES, ORDER, strategy=tf.distribute.get_strategy(), stretch_bytes=int(kind) * 4 * ROW_BYTES)


def targets_of(selection: Any, num_rows: int | None = None) -> list[float]:
    """Returns the targets of the first rows, and checks that the inputs are of the same rows."""
    (x, y, _), rows = selection.data, selection.rows[:num_rows]
    targets = tf.gather(y, rows).numpy()[:, 0]
    for name, array in X.items():
        np.testing.assert_array_equal(tf.gather(x[name], rows).numpy(), array[targets.astype(int)])
        assert x[name].dtype == array.dtype
    return targets.tolist()


@pytest.mark.parametrize("kind", ["resident", "1", "2", "3", "100"])
def test_batches_follow_the_order_however_steps_are_cut(kind: str) -> None:
    feed = make(kind)
    targets: list[float] = []
    for first, count in [(0, 3), (3, 9), (12, 1), (13, 2), (2, 4)]:  # the last one goes back to a checkpoint
        for begin, steps in feed.blocks(first, count):
            selection = feed.batches(begin, steps, length=100 * 4)
            assert selection.rows.shape == (400,)
            targets += targets_of(selection, 4 * steps)
    np.testing.assert_array_equal(targets, np.concatenate([ORDER.block(0, 15), ORDER.block(2, 4)]))


def test_a_stretch_ends_with_its_epoch() -> None:
    feed = make("3")
    assert isinstance(feed, Stream) and feed.stretch_steps == 3
    assert list(feed.blocks(0, 12)) == [(0, 3), (3, 2), (5, 3), (8, 2), (10, 2)]
    assert list(feed.blocks(4, 3)) == [(4, 1), (5, 2)]
    assert list(make("resident").blocks(4, 300)) == [(4, 300)]


@pytest.mark.parametrize("kind", ["resident", "2", "100"])
def test_selections_contain_the_given_rows_in_order(kind: str) -> None:
    feed = make(kind)
    rows = np.array([22, 0, 7, 7, 3, 20, 1, 2, 4, 5, 6], np.int32)
    targets: list[float] = []
    selections = list(feed.selections(rows, multiple=4))
    for selection in selections:
        targets += targets_of(selection)
    assert targets == rows.tolist()  # each row once, and no other
    assert [selection.rows.shape[0] for selection in selections] == ([8, 3] if kind == "2" else [11])


def test_bytes_of_examples(tmp_path: Path) -> None:
    assert data_bytes(EXAMPLES) == ROWS * ROW_BYTES
    if not tf.config.list_logical_devices("GPU"):
        assert bytes_to_load(EXAMPLES) == 0
    (tmp_path / "x").write_bytes(bytes(ROWS * 6))
    stored = StoredArray(str(tmp_path / "x"), 0, shape=(ROWS, 6), dtype=np.dtype("u1"))
    assert data_bytes(Examples(stored, Y, {}, cast(Any, None), "")) == ROWS * (6 + 1) * 4
    assert bytes_to_load(Examples(stored, Y, {}, cast(Any, None), "")) >= ROWS * 6 * 4


def test_a_stored_array_becomes_floats(tmp_path: Path) -> None:
    values = np.arange(ROWS * 6, dtype=np.uint8).reshape(ROWS, 6)
    (tmp_path / "x").write_bytes(values.tobytes())
    stored = StoredArray(str(tmp_path / "x"), 0, shape=(ROWS, 6), dtype=np.dtype("u1"))
    examples = Examples(stored, Y, {}, cast(Any, None), "")
    for feed in (
        Resident(examples, ORDER, strategy=tf.distribute.get_strategy()),
        Stream(examples, ORDER, strategy=tf.distribute.get_strategy(), stretch_bytes=200),
    ):
        selection = feed.batches(0, 1, length=4)
        rows = tf.gather(selection.data[0], selection.rows).numpy()
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, values[ORDER.block(0, 1)])


def test_a_cpu_uses_an_array_where_it_lies() -> None:
    if tf.config.list_logical_devices("GPU"):
        pytest.skip("only a CPU uses the memory of the host")
    raw = np.zeros(8 * 16 + 16, np.float32)
    start = -raw.ctypes.data % 64 // 4
    aligned = raw[start : start + 8 * 16].reshape(8, 16)
    assert aligned.ctypes.data % 64 == 0
    examples = Examples(aligned, Y[:8], {}, cast(Any, None), "")
    feed = Resident(examples, Order(np.arange(8), 4, seed=0), strategy=tf.distribute.get_strategy())
    (selection,) = feed.selections(np.arange(8), 8)
    aligned[5] = 7.0
    np.testing.assert_array_equal(selection.data[0].numpy(), aligned)


def test_a_stream_selects_at_once_only_rows_that_fit_into_a_stretch() -> None:
    rows = np.arange(8)
    assert make("1").select(rows) is None
    selection = make("2").select(rows)
    assert selection is not None and targets_of(selection) == rows.tolist()


def test_a_sample_is_the_first_examples() -> None:
    x, y, _ = sample(EXAMPLES, 2)
    assert x["numbers"].tolist() == [[0, 1, 2], [3, 4, 5]] and x["categories"].tolist() == [[0], [1]]
    assert y.tolist() == [[0], [1]]


@pytest.mark.parametrize("num_stretch_rows", [None, 5, 100])
def test_windows_are_gathered_from_rows_that_lie_once(num_stretch_rows: int | None) -> None:
    starts = np.arange(17, dtype=np.int32)
    x = WindowArray(X["numbers"], starts, offset=0, length=4)
    y = WindowArray(Y[:, 0], starts, offset=4, length=2)
    examples, order = Examples(x, y, {}, cast(Any, None), ""), Order(np.arange(17), 4, seed=3)
    strategy = tf.distribute.get_strategy()
    feed: Feed
    if num_stretch_rows is None:
        feed = Resident(examples, order, strategy=strategy)
        assert data_bytes(examples) == ROWS * (3 * 4 + 4) + 2 * 17 * 4  # not that of 17 copies
        assert bytes_to_load(examples) == 0 or tf.config.list_logical_devices("GPU")
    else:
        feed = Stream(examples, order, strategy=strategy, stretch_bytes=num_stretch_rows * (4 * 3 + 2) * 4)
    for first, count in feed.blocks(0, 4):
        selection = feed.batches(first, count, length=16)
        inputs, targets, _ = gather(selection.data, selection.rows[: count * 4])
        numbers = order.block(first, count)
        for k, start in enumerate(numbers.tolist()):
            np.testing.assert_array_equal(inputs[k], X["numbers"][start : start + 4])
            np.testing.assert_array_equal(targets[k], Y[start + 4 : start + 6, 0])
