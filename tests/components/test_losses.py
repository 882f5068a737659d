"""Compares losses with values computed by hand or with NumPy."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.losses import classification, combined, regression
from tfrun.errors import ConfigError

Y_TRUE = np.array([[0.0], [0.0], [3.0], [1.0]], "float32")
Y_PRED = np.array([[0.5], [-2.0], [0.0], [1.0]], "float32")  # errors 0.5, -2, -3, 0

REGRESSION = [
    (regression.Huber(), [0.125, 1.5, 2.5, 0.0]),
    (regression.Huber(delta=2.0), [0.125, 2.0, 4.0, 0.0]),
    (regression.MeanSquaredError(), [0.25, 4.0, 9.0, 0.0]),
    (regression.MeanAbsoluteError(), [0.5, 2.0, 3.0, 0.0]),
    (regression.LogCosh(), np.log(np.cosh([0.5, 2.0, 3.0, 0.0]))),
    (regression.Quantile(quantile=0.9), [0.05, 1.8, 2.7, 0.0]),
]
LOGITS = np.array([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]], "float32")


def log_softmax(logits: Any) -> Any:
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize(("loss", "expected"), REGRESSION, ids=lambda value: getattr(value, "name", ""))
def test_regression_losses_return_one_value_per_example(loss: Any, expected: Any) -> None:
    np.testing.assert_allclose(loss.call(tf.constant(Y_TRUE), tf.constant(Y_PRED)), expected, rtol=1e-6, atol=1e-6)
    assert loss.task == "regression"


@pytest.mark.parametrize(("loss", "expected"), REGRESSION, ids=lambda value: getattr(value, "name", ""))
def test_regression_losses_compile_with_finite_gradients(loss: Any, expected: Any) -> None:
    @tf.function(jit_compile=True)
    def run(y_true: Any, y_pred: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            values = loss(y_true, y_pred)
        return values, tape.gradient(values, y_pred)

    value, gradient = run(tf.constant(Y_TRUE), tf.constant(Y_PRED))
    np.testing.assert_allclose(value, np.mean(expected), rtol=1e-5)
    assert np.isfinite(gradient).all()


def test_huber_gradient_is_the_clipped_error() -> None:
    y_pred = tf.constant(Y_PRED)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        total = tf.reduce_sum(regression.Huber(delta=1.0).call(tf.constant(Y_TRUE), y_pred))
    np.testing.assert_allclose(tape.gradient(total, y_pred)[:, 0], [0.5, -1.0, -1.0, 0.0])


def test_log_cosh_does_not_overflow() -> None:
    value = regression.LogCosh().call(tf.constant([[0.0], [0.0]]), tf.constant([[1e4], [-1e4]]))
    np.testing.assert_allclose(value, [1e4 - np.log(2)] * 2, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_crossentropy(smoothing: Any) -> None:
    loss = classification.BinaryCrossentropy(label_smoothing=smoothing)
    logits = np.array([[0.0], [2.0], [-3.0]])
    labels = np.array([[1.0], [0.0], [1.0]])
    smooth = labels * (1 - smoothing) + smoothing / 2
    p = 1 / (1 + np.exp(-logits))
    expected = -(smooth * np.log(p) + (1 - smooth) * np.log(1 - p))[:, 0]
    np.testing.assert_allclose(
        loss.call(tf.constant(labels, "float32"), tf.constant(logits, "float32")), expected, 1e-5
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_sparse_categorical_crossentropy(smoothing: Any) -> None:
    loss = classification.SparseCategoricalCrossentropy(label_smoothing=smoothing, reduction=None)
    labels = np.array([[1], [2]], "int32")
    one_hot = np.array([[0, 1, 0], [0, 0, 1]]) * (1 - smoothing) + smoothing / 3
    expected = -(one_hot * log_softmax(LOGITS)).sum(axis=1)
    np.testing.assert_allclose(loss(tf.constant(labels), tf.constant(LOGITS)), expected, rtol=1e-5)
    jitted = tf.function(loss, jit_compile=True)
    np.testing.assert_allclose(jitted(tf.constant(labels), tf.constant(LOGITS)), expected, rtol=1e-5)


def test_parameters_survive_serialization() -> None:
    for loss in (regression.Huber(delta=2.5), regression.Quantile(0.1), classification.BinaryCrossentropy(0.1)):
        loaded = keras.losses.deserialize(keras.losses.serialize(loss))
        assert loaded.get_config() == loss.get_config()


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_for_two_classes(alpha: Any) -> None:
    logits, labels = np.array([[2.0], [-1.0], [0.5]], "float32"), np.array([[1.0], [1.0], [0.0]], "float32")
    p = 1 / (1 + np.exp(-logits[:, 0]))
    p_y = np.where(labels[:, 0] == 1, p, 1 - p)
    weights = 1.0 if alpha is None else np.where(labels[:, 0] == 1, alpha, 1 - alpha)
    values = classification.Focal(gamma=1.5, alpha=alpha).call(tf.constant(labels), tf.constant(logits))
    np.testing.assert_allclose(values, -weights * (1 - p_y) ** 1.5 * np.log(p_y), rtol=1e-5)


def test_focal_for_many_classes() -> None:
    labels = np.array([[0], [2]], "int32")
    log_p = log_softmax(LOGITS)[[0, 1], [0, 2]]
    values = classification.Focal(gamma=2.0).call(tf.constant(labels), tf.constant(LOGITS))
    np.testing.assert_allclose(values, -((1 - np.exp(log_p)) ** 2) * log_p, rtol=1e-5)
    plain = classification.SparseCategoricalCrossentropy().call(tf.constant(labels), tf.constant(LOGITS))
    gamma_zero = classification.Focal(gamma=0.0).call(tf.constant(labels), tf.constant(LOGITS))
    np.testing.assert_allclose(gamma_zero, plain, rtol=1e-5)


def test_losses_refuse_another_number_of_classes() -> None:
    with pytest.raises(ConfigError, match=r"for two classes.*Received: 3 outputs"):
        classification.BinaryCrossentropy().call(tf.zeros([2, 1]), tf.zeros([2, 3]))
    with pytest.raises(ConfigError, match=r"for three classes or more.*Received: one output"):
        classification.SparseCategoricalCrossentropy().call(tf.zeros([2, 1], tf.int32), tf.zeros([2, 1]))


def test_weighted_sum() -> None:
    loss = combined.WeightedSum({"near": regression.Huber(), "far": regression.MeanAbsoluteError()}, {"far": 0.1})
    expected = np.array([0.125, 1.5, 2.5, 0.0]) + 0.1 * np.array([0.5, 2.0, 3.0, 0.0])
    np.testing.assert_allclose(loss.call(tf.constant(Y_TRUE), tf.constant(Y_PRED)), expected, rtol=1e-6)
    assert loss.task == "regression"
    with pytest.raises(ConfigError, match=r"loss\.weights: unknown loss.*'farr'.*Did you mean 'far'"):
        combined.WeightedSum({"far": regression.Huber()}, {"farr": 1.0})
    with pytest.raises(ConfigError, match="one task. Received: classification and regression"):
        _ = combined.WeightedSum({"a": regression.Huber(), "b": classification.Focal()}).task


def test_per_output() -> None:
    loss = combined.PerOutput(
        {"output": regression.MeanSquaredError(), "aux": regression.MeanAbsoluteError()}, {"aux": 2}
    )
    outputs = {"output": tf.constant(Y_PRED), "aux": tf.constant(Y_TRUE + 1)}
    np.testing.assert_allclose(loss.call(tf.constant(Y_TRUE), outputs), np.array([0.25, 4, 9, 0]) + 2, rtol=1e-6)
    targets = {"output": tf.constant(Y_TRUE), "aux": tf.constant(Y_TRUE + 4)}  # one target per output
    np.testing.assert_allclose(loss.call(targets, outputs), np.array([0.25, 4, 9, 0]) + 2 * 3, rtol=1e-6)
    with pytest.raises(ConfigError, match="one for each output of the model. Received: output, aux. Outputs: output"):
        loss.call(tf.constant(Y_TRUE), tf.constant(Y_PRED))
