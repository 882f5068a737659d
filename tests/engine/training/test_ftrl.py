"""FTRL with rates that change, against the algorithm in NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training import ftrl
from tfrun.engine.training.groups import Group
from tfrun.engine.training.table import build_with_slots

GRADIENTS = np.random.default_rng(1).normal(size=(40, 3))
RATES = [0.5 * (1 - step / 40) for step in range(40)]


def algorithm(gradients: np.ndarray, rates: list[float], *, l1: float, l2: float, beta: float) -> np.ndarray:
    """McMahan et al. 2013, algorithm 1, with σ = (√n_t + β) / α_t - (√n_{t-1} + β) / α_{t-1}, in float64.

    l2 is Keras' factor of w², half of the paper's λ₂.
    """
    z, n = np.zeros(3), np.full(3, 0.1)
    w, before = np.zeros(3), rates[0]
    for g, rate in zip(gradients, rates, strict=True):
        sigma = (np.sqrt(n + g**2) + beta) / rate - (np.sqrt(n) + beta) / before
        z += g - sigma * w
        n += g**2
        w = np.where(np.abs(z) <= l1, 0, -(z - np.sign(z) * l1) / ((beta + np.sqrt(n)) / rate + 2 * l2))
        before = rate
    return w


def make(**options: Any) -> Group:
    variable = keras.Variable(np.zeros(3, "float32"), name="w")
    optimizer = keras.optimizers.Ftrl(RATES[0], **options)
    return Group("wide", [variable], optimizer=optimizer, slots=build_with_slots(optimizer, [variable]))


def step(group: Group, gradient: np.ndarray, rate: float) -> None:
    before = tf.convert_to_tensor(group.optimizer.learning_rate)
    ftrl.keep_weights_at_rate(group, before, tf.constant(rate, tf.float32))
    group.optimizer.learning_rate.assign(rate)
    group.optimizer.apply([tf.constant(gradient, tf.float32)])


@pytest.mark.parametrize(("l1", "l2", "beta"), [(0.0, 0.0, 0.0), (0.3, 0.0, 0.0), (0.1, 0.2, 1.0)])
def test_steps_are_those_of_the_algorithm(l1: float, l2: float, beta: float) -> None:
    group = make(l1_regularization_strength=l1, l2_regularization_strength=l2, beta=beta)
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        step(group, gradient, rate)
    expected = algorithm(GRADIENTS, RATES, l1=l1, l2=l2, beta=beta)
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(group.variables[0].numpy(), expected, rtol=2e-4, atol=2e-6)


def test_without_a_gradient_weights_stay() -> None:
    group = make()
    step(group, GRADIENTS[0], 0.5)
    weights = group.variables[0].numpy()
    for rate in (0.4, 0.01, 1e-4, 2.0):
        step(group, np.zeros(3), rate)
        np.testing.assert_allclose(group.variables[0].numpy(), weights, rtol=1e-5)


def test_a_constant_rate_changes_no_bit() -> None:
    plain, kept = make(), make()
    for gradient in GRADIENTS:
        step(kept, gradient, 0.5)
        plain.optimizer.apply([tf.constant(gradient, tf.float32)])
    assert kept.variables[0].numpy().tobytes() == plain.variables[0].numpy().tobytes()


def test_the_rate_of_a_stage_that_has_not_begun_moves_nothing() -> None:
    group = make()
    step(group, GRADIENTS[0], 0.5)
    linear = ftrl.sums(group, group.variables[0])["linear"]
    before = linear.numpy()
    ftrl.keep_weights_at_rate(group, tf.constant(0.0), tf.constant(0.1))
    np.testing.assert_array_equal(linear.numpy(), before)


def test_a_restored_state_follows_a_new_rate() -> None:
    group = make()
    group.base_learning_rate = tf.Variable(0.5)
    step(group, GRADIENTS[0], 0.5)
    weights = group.variables[0].numpy()
    group.base_learning_rate.assign(0.05)
    ftrl.keep_restored_weights([group], 1)
    assert float(group.optimizer.learning_rate) == pytest.approx(0.05)
    group.optimizer.apply([tf.zeros(3)])
    np.testing.assert_allclose(group.variables[0].numpy(), weights, rtol=1e-5)
