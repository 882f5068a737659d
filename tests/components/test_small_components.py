"""Compares activations, initializers, regularizers and constraints with values computed by hand or with NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.activations.leaky_relu import LeakyReLU
from tfrun.components.activations.softplus import softplus
from tfrun.components.constraints.norms import MaxNorm, UnitNorm
from tfrun.components.constraints.sign import NonNegative
from tfrun.components.initializers.by_variance import Glorot, He
from tfrun.components.regularizers.norms import L1, L1L2, L2
from tfrun.components.regularizers.orthogonal import Orthogonal

W = tf.constant([[3.0, -0.5], [-4.0, 0.0]])


def test_softplus_and_its_derivatives() -> None:
    x = tf.constant([-1000.0, -1.0, 0.0, 2.0, 1000.0])
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = softplus(x)
        slope = inner.gradient(y, x)
    sigmoid = 1 / (1 + np.exp(-np.array([-1.0, 0.0, 2.0])))
    np.testing.assert_allclose(y, [0, *np.log1p(np.exp([-1.0, 0.0, 2.0])), 1000], rtol=1e-6)
    np.testing.assert_allclose(slope, [0, *sigmoid, 1], rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(outer.gradient(slope, x), [0, *(sigmoid * (1 - sigmoid)), 0], rtol=1e-5, atol=1e-30)


def test_leaky_relu() -> None:
    np.testing.assert_allclose(LeakyReLU(0.25)(tf.constant([-8.0, 0.0, 3.0])), [-2.0, 0.0, 3.0])


@pytest.mark.parametrize(
    ("initializer", "shape", "variance"),
    [
        (Glorot(seed=1), (300, 500), 2 / 800),
        (Glorot("uniform", seed=1), (300, 500), 2 / 800),
        (He(seed=1), (300, 500), 2 / 300),
        (He("uniform", seed=1), (3, 3, 40, 90), 2 / 360),  # a convolution's fan-in includes its window
        (Glorot(seed=1), (3, 3, 40, 90), 2 / (9 * 130)),
    ],
)
def test_initializers_have_the_variance_of_their_formula(initializer: Any, shape: Any, variance: float) -> None:
    values = np.asarray(initializer(shape))
    assert values.var() == pytest.approx(variance, rel=0.03)
    assert abs(values.mean()) < 5 * np.sqrt(variance / values.size)
    if initializer.distribution == "uniform":
        assert np.abs(values).max() <= np.sqrt(3 * variance)


def test_an_unseeded_initializer_draws_new_values_from_the_global_seed() -> None:
    def draws() -> np.ndarray:
        keras.utils.set_random_seed(3)
        initializer = He()
        return np.stack([initializer((4, 5)), initializer((4, 5))])

    first, second = draws()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(draws(), [first, second])


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (L1(0.1), 0.75),
        (L2(0.1), 2.525),
        (L1L2(0.1, 0.2), 0.75 + 5.05),
        # WᵀW = [[25, -1.5], [-1.5, 0.25]]; less I: [[24, -1.5], [-1.5, -0.75]]
        (Orthogonal(0.1), 0.1 * (24**2 + 2 * 1.5**2 + 0.75**2)),
    ],
)
def test_regularizers(regularizer: Any, expected: float) -> None:
    assert float(regularizer(W)) == pytest.approx(expected)


def test_an_orthogonal_matrix_has_no_penalty() -> None:
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 4)))
    for matrix in (q, q.T):
        assert float(Orthogonal(1.0)(tf.constant(matrix, "float32"))) == pytest.approx(0, abs=1e-9)


def test_constraints() -> None:
    np.testing.assert_allclose(NonNegative()(W), [[3, 0], [0, 0]])
    np.testing.assert_allclose(MaxNorm(2.0)(W), [[1.2, -0.5], [-1.6, 0]], rtol=1e-6)  # the columns' lengths are 5, 0.5
    np.testing.assert_allclose(MaxNorm(2.0, axis=1)(W)[1], [-2, 0], rtol=1e-6)
    np.testing.assert_allclose(UnitNorm()(W), [[0.6, -1], [-0.8, 0]], rtol=1e-6)
