"""The rows of a batch, their share of a replica, and their weights."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training.batches import (
    NO_WEIGHTS,
    evaluation_rows,
    evaluation_size,
    gather,
    has_weights,
    share_of_replica,
    weighted,
)


def test_gather_returns_the_rows_of_every_tensor() -> None:
    examples = ({"a": tf.constant([[1], [2], [3]]), "b": tf.constant([10, 20, 30])}, tf.constant([0.1, 0.2, 0.3]), ())
    x, y, weights = gather(examples, tf.constant([2, 0]))
    assert x["a"].numpy().tolist() == [[3], [1]] and x["b"].numpy().tolist() == [30, 10]
    np.testing.assert_allclose(y, [0.3, 0.1])
    assert weights == ()


def test_one_replica_gets_all_rows() -> None:
    shares = tf.distribute.get_strategy().run(share_of_replica, args=(tf.constant([5, 3, 4]),))
    assert shares.numpy().tolist() == [5, 3, 4]


def test_a_batch_without_weights_has_an_empty_tuple() -> None:
    assert not has_weights(NO_WEIGHTS)
    assert has_weights(tf.constant([1.0]))


@pytest.mark.parametrize(("weights", "expected"), [(NO_WEIGHTS, [4.0, 9.0]), (tf.constant([0.5, 2.0]), [2.0, 18.0])])
def test_weights_multiply_the_losses_of_their_rows(weights: tf.Tensor, expected: list[float]) -> None:
    loss = weighted(lambda y, y_pred: tf.square(y_pred - y), weights)
    assert loss(tf.constant([1.0, 1.0]), tf.constant([3.0, 4.0])).numpy().tolist() == expected


@pytest.mark.parametrize(
    ("num_rows", "sizes"),
    [(1, [1]), (1024, [1024]), (1025, [513, 512]), (2064, [688] * 3), (2071, [691, 691, 689]), (1501, [751, 750])],
)
def test_rows_are_evaluated_in_parts_of_one_size_where_possible(num_rows: int, sizes: list[int]) -> None:
    size = evaluation_size(num_rows)
    num_parts, left = divmod(num_rows, size)
    assert [size] * num_parts + [left] * (left > 0) == sizes


@pytest.mark.parametrize(
    ("row_bytes", "rows"), [(0, 1024), (4, 1024), (2**17, 1024), (2**18, 512), (602_112, 128), (2**28, 1)]
)
def test_large_rows_are_evaluated_in_smaller_parts(row_bytes: int, rows: int) -> None:
    assert evaluation_rows(row_bytes) == rows
    assert evaluation_size(1024, most=rows) == rows
