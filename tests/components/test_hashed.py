"""Hashed tables: the vector of an id is a weighted sum of rows that all ids share."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.layers.bag import EmbeddingBag
from tfrun.components.layers.hashed import Hashing, IdVectors, hash_numbers, universal_hash

PRIME = 2**31 - 1


def hashed(id: int, number: int, size: int) -> int:
    factor, offset = hash_numbers(number)
    return (factor * id + offset) % PRIME % size


def built(num_ids: int, dim: int, hashing: Hashing | None) -> tuple[IdVectors, keras.layers.Layer]:
    layer = keras.layers.Layer()
    vectors = IdVectors(num_ids, dim, hashing=hashing)
    vectors.build(layer, "uniform")
    rng = np.random.default_rng(0)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return vectors, layer


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_hash_is_that_of_whole_numbers(jit_compile: bool) -> None:
    ids = [0, 1, 7, 10**7, PRIME - 1]
    hashes = tf.function(lambda: universal_hash(tf.constant(ids), 2, size=1000), jit_compile=jit_compile)()
    assert hashes.dtype == tf.int32
    assert hashes.numpy().tolist() == [hashed(id, 2, 1000) for id in ids]


def test_hashes_are_spread_and_independent() -> None:
    first, second = (universal_hash(tf.range(100_000), number, size=100).numpy() for number in (1, 2))
    for values in (first, second):
        counts = np.bincount(values, minlength=100)
        assert counts.min() > 800 and counts.max() < 1200  # 1000 each on average
    assert abs((first == second).mean() - 0.01) < 0.003


@pytest.mark.parametrize(("num_ids", "rows", "hashes", "num_weights"), [(50, 7, 2, 50), (500, 7, 3, 70)])
def test_a_vector_is_the_weighted_sum_of_shared_rows(num_ids: int, rows: int, hashes: int, num_weights: int) -> None:
    vectors, layer = built(num_ids, 3, Hashing(rows, hashes))
    table, importance = (variable.numpy() for variable in layer.trainable_variables)
    assert table.shape == (rows, 3) and importance.shape == (num_weights, hashes)
    ids = np.array([[0, 1], [num_ids - 1, 17]])
    expected = np.zeros((2, 2, 3))
    for place, id in np.ndenumerate(ids):
        weights = importance[hashed(int(id), 0, num_weights) if num_weights < num_ids else id]
        expected[place] = sum(weights[k] * table[hashed(int(id), k + 1, rows)] for k in range(hashes))
    np.testing.assert_allclose(vectors(tf.constant(ids), dtype="float32"), expected, rtol=1e-5, atol=1e-6)


def test_both_gradients_have_rows() -> None:
    vectors, layer = built(500, 3, Hashing(7))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(vectors(tf.constant([4, 9]), dtype="float32"))
    gradients = tape.gradient(loss, [variable.value for variable in layer.trainable_variables])
    assert all(isinstance(gradient, tf.IndexedSlices) for gradient in gradients)


def test_ten_million_ids_need_a_small_table() -> None:
    layer = EmbeddingBag(10_000_000, dim=8, rows=1000)
    layer.build()
    assert layer.count_params() == 1000 * 8 + 10_000 * 2
    assert np.isfinite(layer(tf.constant([[9_999_999, 1, 0]]))).all()


def test_few_ids_have_a_row_each() -> None:
    vectors, layer = built(7, 3, Hashing(7))
    (table,) = layer.trainable_variables
    assert table.shape == (7, 3) and table.path.endswith("embeddings")
    np.testing.assert_array_equal(vectors(tf.constant([6]), dtype="float32"), table.numpy()[[6]])


def test_a_hashed_bag_is_the_mean_of_its_vectors() -> None:
    layer: Any = EmbeddingBag(50, dim=2, rows=5)
    mean = layer(tf.constant([[3, 41, 0]])).numpy()
    each = layer(tf.constant([[3, 0, 0], [41, 0, 0]])).numpy()
    np.testing.assert_allclose(mean[0], each.mean(axis=0), rtol=1e-6, atol=1e-7)
    assert np.abs(each).min() > 0 and EmbeddingBag.from_config(layer.get_config()).rows == 5
