"""Compares the models of Géron's chapters with values computed by hand or with NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.layers.elementwise import Exponential
from tfrun.components.models.autoencoder import Autoencoder
from tfrun.components.models.fixed_point import FixedPoint
from tfrun.components.models.mc_dropout import MonteCarloDropout
from tfrun.components.models.regressors import ReconstructingRegressor, ResidualRegressor
from tfrun.components.models.seasonal_naive import seasonal_naive
from tfrun.components.models.sequence import sequence
from tfrun.components.models.sequential import sequential
from tfrun.components.models.wide_deep import WideDeep
from tfrun.data.table import Features
from tfrun.errors import ConfigError

NUMBERS = Features({"a": (), "b": (), "c": ()}, {}, {})
THREE = {"numbers": tf.constant([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5]])}


def test_residual_regressor_repeats_its_first_block() -> None:
    model = ResidualRegressor(NUMBERS, 1, units=3, layers_per_block=1, repeats=2, activation="linear")
    model(THREE)
    eye, zero = np.eye(3, dtype="float32"), np.zeros(3, "float32")
    # entry: x; block_1: z + 2z, twice: 9x; block_2: z + z: 18x
    by_path = {v.path.removeprefix("residual_regressor/"): v for v in model.variables}
    for path, value in [
        ("entry/kernel", eye), ("entry/bias", zero), ("block_1/hidden_1/kernel", 2 * eye),
        ("block_1/hidden_1/bias", zero), ("block_2/hidden_1/kernel", eye), ("block_2/hidden_1/bias", zero),
        ("output/kernel", np.ones((3, 1))), ("output/bias", np.zeros(1)),
    ]:  # fmt: skip
        by_path[path].assign(value)
    np.testing.assert_allclose(model(THREE)[:, 0], 18 * THREE["numbers"].numpy().sum(axis=1), rtol=1e-6)


def test_reconstructing_regressor_adds_the_reconstruction_error() -> None:
    model = ReconstructingRegressor(NUMBERS, 1, units=4, num_layers=1, reconstruction_weight=0.5)
    model(THREE)
    model.reconstruct.set_weights([np.zeros((4, 3)), np.array([0.5, 0.5, 0.5])])
    model.reconstruction_error.reset_state()
    model(THREE)
    error = np.mean((0.5 - THREE["numbers"].numpy()) ** 2)
    assert float(model.losses[0]) == pytest.approx(0.5 * error)
    assert float(model.reconstruction_error.result()) == pytest.approx(error)


def test_mc_dropout_predicts_the_mean_of_its_networks() -> None:
    model = MonteCarloDropout(NUMBERS, 2, hidden_units=[200], dropout=0.25, num_samples=500)
    samples = np.asarray(model.samples(THREE))
    assert samples.shape == (2, 500, 2)
    np.testing.assert_allclose(model(THREE), samples.mean(axis=1), rtol=1e-5, atol=1e-6)
    assert samples.std(axis=1).min() > 0
    hidden = np.maximum(0, THREE["numbers"].numpy() @ model.hidden[0].get_weights()[0])
    plain = hidden @ model.output_layer.get_weights()[0]
    np.testing.assert_allclose(samples.mean(axis=1), plain, atol=5 * samples.std() / np.sqrt(500))
    np.testing.assert_allclose(model({"numbers": THREE["numbers"][1:]}), model(THREE)[1:], rtol=1e-5)


def test_fixed_point_converges_for_each_example_separately() -> None:
    model = FixedPoint(NUMBERS, 1, units=5, tolerance=1e-6, max_iterations=200)
    model(THREE)
    drive, feed_back = (layer.get_weights()[0] for layer in (model.drive, model.feed_back))
    z = np.zeros((2, 5))
    for _ in range(200):
        z = np.tanh(z @ feed_back + THREE["numbers"].numpy() @ drive)
    np.testing.assert_allclose(model(THREE), z @ model.output_layer.get_weights()[0], atol=1e-5)
    alone = model({"numbers": THREE["numbers"][:1]})
    np.testing.assert_allclose(alone, model(THREE)[:1], rtol=1e-6)


def test_sequence_of_convolutions_sees_all_earlier_steps() -> None:
    features = Features({}, {}, {"steps": (8,)})
    keras.utils.set_random_seed(0)
    for cell in ("gru", "causal_convolution"):
        model = sequence(features, 1, cell=cell, units=6, num_layers=3)
        assert model(tf.zeros([4, 8])).shape == (4, 1)
    with tf.GradientTape() as tape:  # three layers of two values see 1 + 1 + 2 + 4 = 8 steps
        x = tf.random.stateless_normal([1, 8], [0, 1])
        tape.watch(x)
        y = model(x)
    assert np.count_nonzero(tape.gradient(y, x)) == 8
    with pytest.raises(ConfigError, match=r"needs sequences"):
        sequence(NUMBERS, 1)


def test_sequential_applies_its_layers_in_order() -> None:
    model = sequential(NUMBERS, 1, layers=[Exponential()], output_layers=[Exponential()])
    kernel, bias = model.get_layer("output").get_weights()
    expected = np.exp(np.exp(THREE["numbers"].numpy()) @ kernel + bias)
    np.testing.assert_allclose(model(THREE), expected, rtol=1e-5)


def test_wide_deep_with_an_auxiliary_output() -> None:
    model = WideDeep(NUMBERS, 1, hidden_units=[4], auxiliary_output=True, auxiliary_weight=0.3)
    outputs = model(THREE)
    assert set(outputs) == {"output", "auxiliary"}
    assert model.loss_weights == {"output": 0.7, "auxiliary": 0.3}
    assert "deep/auxiliary/kernel" in [v.path for v in model.trainable_variables]
    with pytest.raises(ConfigError, match=r"model\.auxiliary_output: needs the deep part"):
        WideDeep(NUMBERS, 1, deep=False, auxiliary_output=True)


@pytest.mark.parametrize(
    "model",
    [
        ResidualRegressor(NUMBERS, 1, activation="selu"),
        ReconstructingRegressor(NUMBERS, 1),
        MonteCarloDropout(NUMBERS, 1),
        FixedPoint(NUMBERS, 1),
        WideDeep(NUMBERS, 1, auxiliary_output=True, kernel_regularizer="l2"),
    ],
    ids=lambda model: model.name,
)
def test_subclassed_models_are_saved_and_loaded(model: Any, tmp_path: Path) -> None:
    expected = model(THREE)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    tf.nest.map_structure(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), loaded(THREE), expected)


def test_autoencoder_encodes_and_decodes() -> None:
    model = Autoencoder(NUMBERS, code_size=2, hidden_units=[], activation="linear")
    model(THREE)
    encoder = np.eye(3, 2, dtype="float32")  # keeps the first two numbers
    decoder = 3 * np.eye(2, 3, dtype="float32")
    model.code_layer.set_weights([encoder, np.zeros(2)])
    model.output_layer.set_weights([decoder, np.ones(3)])
    x = THREE["numbers"].numpy()
    np.testing.assert_allclose(model.code(THREE), x[:, :2])
    np.testing.assert_allclose(model(THREE), x @ encoder @ decoder + 1, rtol=1e-6)


WORDS = Features({}, {}, {}, {"words": (5, 4)})


@pytest.mark.parametrize("cell", ["gru", "causal_convolution"])
def test_padding_after_the_last_token_changes_nothing(cell: Any) -> None:
    model = sequence(WORDS, 1, cell, units=3, num_layers=2)
    longer = sequence(Features({}, {}, {}, {"words": (5, 7)}), 1, cell, units=3, num_layers=2)
    longer.set_weights(model.get_weights())
    short = np.array([[2, 3, 0, 0], [4, 1, 2, 3], [0, 0, 0, 0]])
    padded = np.pad(short, ((0, 0), (0, 3)))
    np.testing.assert_allclose(model({"words": short}), longer({"words": padded}), rtol=1e-5, atol=1e-6)
    changed = model({"words": np.array([[3, 2, 0, 0], [4, 1, 2, 3], [0, 0, 0, 0]])})
    assert abs(float(changed[0, 0] - model({"words": short})[0, 0])) > 1e-6  # the order of the tokens matters


def test_wide_deep_with_tokens() -> None:
    model = WideDeep(Features({"a": ()}, {}, {}, {"words": (5, 4)}), 1, hidden_units=[])
    inputs = {"numbers": tf.zeros([2, 1]), "words": tf.constant([[2, 3, 2, 0], [0, 0, 0, 0]])}
    model(inputs)
    weights = {v.path: v for v in model.trainable_variables}
    weights["wide/tokens_1/embeddings"].assign(np.array([[9.0], [9.0], [0.5], [0.25], [9.0]]))
    vectors = weights["deep/tokens_1/embeddings"].numpy()
    kernel = weights["deep/output/kernel"].numpy()
    mean = (2 * vectors[2] + vectors[3]) / 3
    expected = 2 * 0.5 + 0.25 + np.concatenate([[0.0], mean]) @ kernel
    np.testing.assert_allclose(np.ravel(model(inputs)), [float(expected[0]), 0.0], rtol=1e-5, atol=1e-6)


SERIES = Features({}, {}, {"window": (5, 2)}, window=("sold", "price"))


@pytest.mark.parametrize(
    ("period", "expected"),
    [(1, [9, 9, 9, 9]), (3, [7, 8, 9, 7]), (5, [5, 6, 7, 8])],
)
def test_seasonal_naive_repeats_the_last_period_of_the_target(period: int, expected: list[float]) -> None:
    window = np.stack([np.arange(5.0, 10.0), np.full(5, 1e6)], axis=1)[None]
    model = seasonal_naive(SERIES, 4, period)
    assert model(window).numpy().tolist() == [expected]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(window))
    assert tape.gradient(loss, model.trainable_variables[0].value).numpy() == 0  # so that it stays 0


def test_seasonal_naive_adds_the_drift_of_each_period() -> None:
    window = np.stack([np.arange(5.0, 10.0), np.full(5, 1e6)], axis=1)[None]
    model = seasonal_naive(SERIES, 7, 3, drift=True)
    model.trainable_variables[0].assign(10.0)
    assert model(window).numpy().tolist() == [[17, 18, 19, 27, 28, 29, 37]]


def test_seasonal_naive_needs_windows_of_a_period() -> None:
    with pytest.raises(ConfigError, match=r"model.period: must be at most data.window.length, 5. Received: 6"):
        seasonal_naive(SERIES, 4, 6)
    with pytest.raises(ConfigError, match=r"model=seasonal_naive: needs windows of a series"):
        seasonal_naive(NUMBERS, 1, 1)


@pytest.mark.parametrize("cell", ["gru", "causal_convolution"])
def test_sequence_predicts_all_steps_after_a_window(cell: Any) -> None:
    model = sequence(SERIES, 4, cell, units=3, num_layers=2)
    assert model(np.zeros((2, 5, 2))).shape == (2, 4)
