"""Gradients by rows, compared with NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training import rows
from tfrun.engine.training.rows import RowGradient

IDS = np.array([4, 1, 4, 0, 1, 4])
VALUES = np.array([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0], [13.0, 17.0], [19.0, 23.0], [29.0, 31.0]], np.float32)


def dense(ids: np.ndarray, values: np.ndarray) -> np.ndarray:
    whole = np.zeros((6, 2), np.float32)
    np.add.at(whole, ids, values)
    return whole


@pytest.mark.parametrize(("in_xla", "notes_places"), [(False, False), (True, True), (True, False)])
def test_the_rows_of_an_id_are_added_up(in_xla: bool, notes_places: bool) -> None:
    last_place = tf.Variable(tf.zeros(6, tf.int32)) if notes_places else None

    @tf.function(jit_compile=in_xla, autograph=False)
    def add(values: tf.Tensor, ids: tf.Tensor) -> RowGradient:
        places = None if last_place is None else rows.Places.noted(ids, last_place)
        return rows.summed(tf.IndexedSlices(values, ids), places=places, in_xla=in_xla)

    values, ids, is_first = (tensor.numpy() for tensor in add(tf.constant(VALUES), tf.constant(IDS)))
    assert sorted(ids[is_first]) == [0, 1, 4]  # each id at one of its places
    assert not values[~is_first].any()
    np.testing.assert_array_equal(dense(ids, values), dense(IDS, VALUES))
    assert rows.Tracing(in_xla=True).sums_by_halves and not rows.Tracing().sums_by_halves


@pytest.mark.parametrize("in_xla", [False, True])
def test_only_the_chosen_rows_are_written(in_xla: bool) -> None:
    table = tf.Variable(tf.zeros((6, 2)))

    @tf.function(jit_compile=in_xla, autograph=False)
    def write() -> None:
        chosen = tf.constant([True, False, True])
        rows.write_rows(table, tf.constant([5, 5, 2]), tf.constant(VALUES[:3]), where=chosen, in_xla=in_xla)

    write()
    expected = np.zeros((6, 2), np.float32)
    expected[[5, 2]] = VALUES[[0, 2]]
    np.testing.assert_array_equal(table.numpy(), expected)


def test_microbatches_keep_all_their_rows() -> None:
    first, second = ([tf.IndexedSlices(VALUES[part], IDS[part]), tf.constant(c)] for part, c in halves())
    so_far = rows.add_part(rows.first_part(first, 2), second, tf.constant(1))
    of_table, whole = rows.mean_of_parts(so_far, first, 2)
    np.testing.assert_array_equal(dense(of_table.indices.numpy(), of_table.values.numpy()), dense(IDS, VALUES) / 2)
    assert float(whole) == 2.0


def halves() -> list[tuple[slice, float]]:
    return [(slice(0, 3), 1.0), (slice(3, 6), 3.0)]


def test_a_function_of_each_number_leaves_the_ids_alone() -> None:
    gradient = RowGradient(tf.constant(VALUES), tf.constant(IDS), tf.constant([True] * 6))
    assert rows.is_by_rows(gradient) and not rows.is_by_rows(VALUES)
    for of_rows in (gradient, gradient.as_slices()):
        halved = rows.each_number(of_rows, lambda values: values / 2)
        np.testing.assert_array_equal(rows.numbers(halved), VALUES / 2)
    np.testing.assert_array_equal(rows.each_number(tf.constant(VALUES), lambda values: values / 2), VALUES / 2)
