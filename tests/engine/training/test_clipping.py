"""Norms of gradients, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training.clipping import clip, sum_of_squares
from tfrun.engine.training.groups import Group
from tfrun.engine.training.rows import RowGradient

OF_TABLE = RowGradient(tf.constant([[3.0], [0.0]]), tf.constant([5, 5]), tf.constant([True, False]))


@pytest.mark.parametrize("sums_by_halves", [False, True])
def test_a_group_is_clipped_by_the_norm_of_its_rows_and_its_whole_gradients(sums_by_halves: bool) -> None:
    (of_table, whole), norm = clip(
        Group("a", [], clip_norm=1.0), [OF_TABLE, tf.constant([4.0])], sums_by_halves=sums_by_halves
    )
    assert float(norm) == pytest.approx(5.0)  # √(3² + 4²)
    np.testing.assert_allclose(of_table.values, [[0.6], [0.0]], rtol=1e-6)
    np.testing.assert_allclose(whole, [0.8], rtol=1e-6)
    np.testing.assert_array_equal(of_table.ids, [5, 5])


def test_without_a_largest_norm_gradients_stay_as_they_are() -> None:
    (of_table, whole), norm = clip(Group("a", []), [OF_TABLE, tf.constant([4.0])], sums_by_halves=False)
    assert (of_table, float(whole[0]), float(norm)) == (OF_TABLE, 4.0, 5.0)


@pytest.mark.parametrize("size", [1, 2048, 5001])
def test_squares_are_added_up_by_halves(size: int) -> None:
    numbers = np.random.default_rng(0).normal(size=size)
    for by_halves in (True, False):
        total = sum_of_squares(tf.constant(numbers), by_halves=by_halves)
        assert float(total) == pytest.approx(float(np.sum(numbers**2)), rel=1e-12)
