from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.layers.attention import AttentionBlock
from tfrun.components.layers.bag import EmbeddingBag
from tfrun.components.layers.cross import FeatureCross
from tfrun.components.layers.dense import Dense
from tfrun.components.layers.dropout import Dropout
from tfrun.components.layers.elementwise import Exponential, GaussianNoise
from tfrun.components.layers.encode import DenseFeatures
from tfrun.components.layers.impute import Impute
from tfrun.components.layers.normalization import LayerNormalization
from tfrun.components.layers.residual import ResidualBlock
from tfrun.components.models.wide_deep import choose_crosses, feature_cross
from tfrun.data.table import Features

INPUTS = {
    "numbers": tf.constant([[-1.0, 5.0], [0.0, 6.0], [2.5, 7.0]]),
    "categories": tf.constant([[0, 1], [2, 0], [1, 3]], tf.int32),
}


def reloaded(layer: Any) -> Any:
    return keras.layers.deserialize(keras.layers.serialize(layer))


def test_impute_fills_only_nan() -> None:
    layer = reloaded(Impute([1.0, -2.5]))
    x = tf.constant([[np.nan, 3.0], [4.0, np.nan], [np.inf, 0.0]])
    expected = [[1.0, 3.0], [4.0, -2.5], [np.inf, 0.0]]
    np.testing.assert_array_equal(tf.function(layer, jit_compile=True)(x), expected)


def test_dense_features_of_a_table() -> None:
    layer = reloaded(DenseFeatures([3, 4]))
    expected = [
        [-1, 5, 1, 0, 0, 0, 1, 0, 0],
        [0, 6, 0, 0, 1, 1, 0, 0, 0],
        [2.5, 7, 0, 1, 0, 0, 0, 0, 1],
    ]
    np.testing.assert_array_equal(tf.function(layer, jit_compile=True)(INPUTS), expected)
    np.testing.assert_array_equal(DenseFeatures()({"numbers": INPUTS["numbers"]}), INPUTS["numbers"])
    np.testing.assert_array_equal(layer({"categories": INPUTS["categories"]}), np.array(expected)[:, 2:])


def test_dense_features_flattens_an_array() -> None:
    assert DenseFeatures()(tf.zeros([5, 8, 8, 3])).shape == (5, 192)


def make_cross(max_size: int = 10007) -> Any:
    return FeatureCross(
        [["a", "b"], ["x", "a"], ["b", "a", "x"]],
        boundaries={"x": [0.0, 1.0, 2.0], "y": [6.5]},
        category_sizes={"a": 3, "b": 4},
        max_size=max_size,
    )


def test_feature_cross_by_hand() -> None:
    # x's buckets: -1 -> 0, 0 -> 1 (a boundary belongs to the bucket above it), 2.5 -> 3, of 4
    # a·4 + b: 0·4+1, 2·4+0, 1·4+3; then x·3 + a after 12 ids; then (b·3 + a)·4 + x after 12 + 12 ids
    expected = [
        [1, 12 + 0 * 3 + 0, 24 + (1 * 3 + 0) * 4 + 0],
        [8, 12 + 1 * 3 + 2, 24 + (0 * 3 + 2) * 4 + 1],
        [7, 12 + 3 * 3 + 1, 24 + (3 * 3 + 1) * 4 + 3],
    ]
    layer = reloaded(make_cross())
    assert layer.num_ids == 12 + 12 + 48
    ids = tf.function(layer, jit_compile=True)(INPUTS)
    assert ids.dtype == tf.int32
    np.testing.assert_array_equal(ids, expected)


def test_feature_cross_takes_the_remainder_of_large_crosses() -> None:
    layer = make_cross(max_size=13)
    assert layer.num_ids == 12 + 12 + 13
    third = [(((1 * 3 + 0) % 13) * 4 + 0) % 13, (((0 * 3 + 2) % 13) * 4 + 1) % 13, (((3 * 3 + 1) % 13) * 4 + 3) % 13]
    np.testing.assert_array_equal(layer(INPUTS)[:, 2] - 24, third)


def test_crosses_of_huge_columns_do_not_overflow() -> None:
    sizes = {"a": 3_000_000, "b": 3_000_000, "c": 3_000_000}
    layer = FeatureCross([["a", "b", "c"]], {}, sizes, max_size=1009)
    ids = layer({"categories": tf.constant([[2_999_999, 2_999_999, 2_999_999]], tf.int32)})
    a = 2_999_999
    assert int(ids[0, 0]) == (((a * 3_000_000 + a) % 1009) * 3_000_000 + a) % 1009


@pytest.mark.parametrize("max_size", [10007, 10_000_019])
def test_a_cross_of_two_hashed_columns_is_hashed_and_not_enumerated(max_size: int) -> None:
    sizes = {"user": 10_000_001, "item": 10_000_001}  # 10^14 cells
    layer = reloaded(FeatureCross([["user", "item"]], {}, sizes, max_size=max_size))
    assert layer.num_ids == max_size and not layer.weights
    largest, random = 10_000_000, np.random.default_rng(0).integers(0, 10_000_001, (1000, 2))
    rows = np.array([[largest, largest], [0, 0], [largest, 0], [0, largest], *random.tolist()])
    ids = tf.function(layer, jit_compile=True)({"categories": tf.constant(rows, tf.int32)})
    expected = [[(user * 10_000_001 + item) % max_size] for user, item in rows.tolist()]  # of Python's exact integers
    np.testing.assert_array_equal(ids, expected)
    assert int(tf.reduce_min(ids)) >= 0 and int(tf.reduce_max(ids)) < max_size


def test_columns_of_ten_million_ids_are_crossed_only_if_they_are_named() -> None:
    features = Features({"x": (0.0,)}, {"user": 10_000_001, "item": 10_000_001, "sex": 3, "town": 40}, {})
    assert choose_crosses("auto", features) == [["sex", "town"]]
    assert feature_cross(features, [["user", "item"]], 997).num_ids == 997


@pytest.mark.parametrize("jit_compile", [False, True])
def test_dropout_is_unbiased_and_draws_new_masks(jit_compile: Any) -> None:
    layer = Dropout(0.3, seed=1)
    x = tf.fill([200, 500], 2.0)
    run = tf.function(lambda values: layer(values, training=True), jit_compile=jit_compile)
    first, second = run(x).numpy(), run(x).numpy()
    kept = first != 0
    np.testing.assert_allclose(first[kept], 2 / 0.7, rtol=1e-6)
    assert kept.mean() == pytest.approx(0.7, abs=0.01)  # the share's standard deviation is 0.0014
    assert first.mean() == pytest.approx(2.0, abs=0.03)
    assert first.var() == pytest.approx(2**2 * 0.3 / 0.7, abs=0.05)
    assert (kept & (second != 0)).mean() == pytest.approx(0.49, abs=0.01)  # the share of independent masks
    assert np.std(kept.mean(axis=0)) < 0.05
    np.testing.assert_array_equal(layer(x), x)


def test_dropout_continues_from_its_saved_state() -> None:
    layer, x = Dropout(0.5, seed=3), tf.ones([4, 8])
    layer(x, training=True)
    (state,) = layer.variables
    saved = state.numpy()
    expected = layer(x, training=True).numpy()
    loaded = reloaded(layer)
    loaded.variables[0].assign(saved)
    np.testing.assert_array_equal(loaded(x, training=True), expected)
    assert layer.trainable_variables == []


def test_dropout_gradient_is_its_mask() -> None:
    layer, x = Dropout(0.5, seed=0), tf.ones([3, 10])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    np.testing.assert_array_equal(tape.gradient(y, x), y)


def test_exponential() -> None:
    np.testing.assert_allclose(Exponential()(tf.constant([[0.0, 1.0]])), [[1.0, np.e]], rtol=1e-6)


def test_dense_by_hand() -> None:
    layer = Dense(2, "relu", kernel_regularizer={"class_name": "L2", "config": {"l2": 0.5}})
    x = tf.constant([[1.0, 2.0, 3.0]])
    layer(x)
    layer.set_weights([np.array([[1.0, -1.0], [0.0, 1.0], [2.0, -1.0]]), np.array([0.5, 1.0])])
    np.testing.assert_allclose(layer(x), [[7.5, 0.0]])  # 1 + 6 + 0.5; -1 + 2 - 3 + 1 < 0
    np.testing.assert_allclose(layer.losses, [0.5 * 8])
    assert layer(tf.zeros([4, 5, 3])).shape == (4, 5, 2)


def test_gaussian_noise_has_its_deviation_in_training_only() -> None:
    layer = GaussianNoise(0.5, seed=1)
    x = tf.zeros([200, 300])
    np.testing.assert_array_equal(layer(x), x)
    noise = np.asarray(layer(x, training=True))
    assert noise.std() == pytest.approx(0.5, rel=0.02)
    assert abs(noise.mean()) < 0.01
    assert not np.array_equal(layer(x, training=True), noise)


@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 8)])
def test_layer_normalization_equals_keras(shape: tuple[int, ...]) -> None:
    x = tf.constant(np.random.default_rng(0).normal(3.0, 5.0, shape), "float32")
    layer_of_tfrun, layer_of_keras = LayerNormalization(), keras.layers.LayerNormalization()
    for layer in (layer_of_tfrun, layer_of_keras):
        layer(x)
        layer.set_weights([np.linspace(0.5, 2, 8), np.linspace(-1, 1, 8)])
    np.testing.assert_allclose(layer_of_tfrun(x), layer_of_keras(x), atol=1e-6)
    values = np.asarray(x, "float64")
    spread = np.sqrt(values.var(axis=-1, keepdims=True) + 1e-3)
    by_hand = np.linspace(0.5, 2, 8) * (values - values.mean(axis=-1, keepdims=True)) / spread + np.linspace(-1, 1, 8)
    np.testing.assert_allclose(layer_of_tfrun(x), by_hand, atol=1e-5)


def test_residual_block_adds_its_input() -> None:
    layer = ResidualBlock(2, "relu")
    x = tf.constant([[1.0, -2.0]])
    layer(x)
    layer.set_weights([2 * np.eye(2), np.zeros(2), np.eye(2), np.array([0.5, 0.25])])
    np.testing.assert_allclose(layer(x), [[1 + 2.5, -2 + 0.25]])


def test_attention_equals_numpy() -> None:
    random = np.random.default_rng(0)
    query, value = random.standard_normal((2, 3, 4)), random.standard_normal((2, 5, 6))
    layer = AttentionBlock(num_heads=2)
    inputs = [tf.constant(query, "float32"), tf.constant(value, "float32")]
    layer(inputs)
    to_query, to_key, to_value, to_output = (
        random.standard_normal(shape) for shape in [(4, 4), (6, 4), (6, 4), (4, 4)]
    )
    layer.set_weights([to_query, to_key, to_value, to_output, np.ones(4), np.zeros(4)])
    q, k, v = query @ to_query, value @ to_key, value @ to_value
    heads = []
    for part in (slice(0, 2), slice(2, 4)):
        scores = np.exp(q[..., part] @ k[..., part].transpose(0, 2, 1) / np.sqrt(2))
        heads.append(scores / scores.sum(axis=-1, keepdims=True) @ v[..., part])
    y = query + np.concatenate(heads, axis=-1) @ to_output
    expected = (y - y.mean(axis=-1, keepdims=True)) / np.sqrt(y.var(axis=-1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(layer(inputs), expected, atol=1e-5)


def test_embedding_bag_equals_numpy() -> None:
    ids = tf.constant([[2, 1, 2, 0], [0, 0, 0, 0], [3, 0, 0, 0]])
    for combine in ("sum", "mean"):
        layer = EmbeddingBag(4, 2, combine)
        assert layer(ids).shape == (3, 2)
        table = layer.weights[0].numpy()
        total = np.stack([2 * table[2] + table[1], np.zeros(2), table[3]])
        expected = total if combine == "sum" else total / np.array([[3], [1], [1]])
        np.testing.assert_allclose(layer(ids), expected, rtol=1e-6)


def test_dense_features_counts_tokens() -> None:
    layer = DenseFeatures.of(Features({"a": ()}, {"c": 2}, {}, {"words": (4, 3)}))
    inputs = {"numbers": tf.constant([[0.5], [1.5]]), "categories": tf.constant([[1], [0]])}
    outputs = layer({**inputs, "words": tf.constant([[3, 1, 3], [2, 0, 0]])})
    np.testing.assert_array_equal(outputs, [[0.5, 0, 1, 0, 1, 0, 2], [1.5, 1, 0, 0, 0, 1, 0]])
    shapes = {"numbers": (None, 1), "categories": (None, 1), "words": (None, 3)}
    assert layer.compute_output_shape(shapes) == (None, 7)
