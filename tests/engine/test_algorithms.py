"""Algorithms against NumPy, on y = w·x + b with the squared error."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.algorithms.adversarial import Gan
from tfrun.components.algorithms.penalized import GradientPenalty
from tfrun.components.algorithms.sharpness import Sam
from tfrun.components.losses.adversarial import Wasserstein
from tfrun.components.models.gan import GanModel
from tfrun.engine.step import Step, TargetScale
from tfrun.errors import ConfigError
from tfrun.table import Features

X = np.array([[1.0], [2.0], [-1.0]], np.float32)
Y = np.array([[2.0], [4.0], [0.5]], np.float32)
ROWS = tf.constant([0, 1, 2])


def squared(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(y_pred - y_true), axis=-1)


def step_of(model: keras.Model, algorithm: Any, groups: Any, loss: Any = squared) -> Step:
    mean = keras.metrics.Mean("loss")
    return Step(tf.distribute.get_strategy(), model, algorithm, loss, groups, mean, [], TargetScale())


def run(step: Step, x: Any = X, y: Any = Y, first: int = 0) -> list[np.ndarray]:
    data = tf.nest.map_structure(tf.constant, (x, y, ()))
    compiled = tf.function(lambda: step(data, ROWS, tf.constant(first, tf.int64)), autograph=False)
    return [value.numpy() for value in compiled()]


def gradient(w: float, b: float) -> np.ndarray:
    e = w * X + b - Y
    return np.array([np.mean(2 * e * X), np.mean(2 * e)])


def test_sam_steps_by_its_neighbour_s_gradient(build: Any) -> None:
    model = build.linear([0.5], 0.25)
    loss, norm, _, ok = run(step_of(model, Sam(rho=0.3), [build.group(model.trainable_variables, 0.1)]))
    own = gradient(0.5, 0.25)
    neighbour = gradient(*(np.array([0.5, 0.25]) + 0.3 * own / np.linalg.norm(own)))
    expected = np.array([0.5, 0.25]) - 0.1 * neighbour
    assert ok
    np.testing.assert_allclose([float(np.ravel(v.numpy())[0]) for v in model.trainable_variables], expected, rtol=1e-5)
    assert loss == pytest.approx(np.mean((0.5 * X + 0.25 - Y) ** 2), rel=1e-5)
    assert norm == pytest.approx(np.linalg.norm(neighbour), rel=1e-5)


def test_sam_leaves_the_weights_where_the_numbers_are_not_finite(build: Any) -> None:
    model = build.linear([0.5], 0.25)
    bad = np.array([[1.0], [np.inf], [0.0]], np.float32)
    *_, ok = run(step_of(model, Sam(), [build.group(model.trainable_variables, 0.1)]), x=bad)
    assert not ok
    assert [float(np.ravel(v.numpy())[0]) for v in model.trainable_variables] == [0.5, 0.25]


def test_gradient_penalty_is_that_of_the_inputs(build: Any) -> None:
    model = build.linear([0.5], 0.25)
    algorithm = GradientPenalty(weight=0.2)
    loss, *_ = run(step_of(model, algorithm, [build.group(model.trainable_variables, 0.1)]))

    def total(w: float, b: float) -> float:
        e = w * X.astype("float64") + b - Y
        return float(np.mean(e**2) + 0.2 * np.mean((2 * e * w) ** 2))

    assert loss == pytest.approx(total(0.5, 0.25), rel=1e-5)
    slopes = [(total(0.5 + 1e-5, 0.25) - total(0.5 - 1e-5, 0.25)) / 2e-5]
    slopes.append((total(0.5, 0.25 + 1e-5) - total(0.5, 0.25 - 1e-5)) / 2e-5)
    expected = np.array([0.5, 0.25]) - 0.1 * np.array(slopes)
    np.testing.assert_allclose([float(np.ravel(v.numpy())[0]) for v in model.trainable_variables], expected, rtol=1e-4)


FEATURES = Features({"a": ()}, {}, {})


def make_gan(build: Any, penalty: float = 0.0, every: int = 1) -> tuple[Any, Step]:
    keras.utils.set_random_seed(1)
    model = GanModel(FEATURES, latent_dim=2, generator_units=[], critic_units=[], activation="linear")
    model({"numbers": tf.constant(X)})
    groups = [
        build.group(model.critic.trainable_variables, 0.1, "critic"),
        build.group(model.generator.trainable_variables, 0.1, "generator", every=every),
    ]
    loss = Wasserstein()
    return model, step_of(model, Gan(gradient_penalty=penalty), groups, lambda y, score: loss.call(y, score))


def test_gan_gives_each_group_its_own_loss(build: Any) -> None:
    model, step = make_gan(build)
    kernel, bias = (np.asarray(v) for v in model.critic.trainable_variables)
    weights, offset = (np.asarray(v) for v in model.generator.trainable_variables)
    keras.utils.set_random_seed(1)
    made = GanModel(FEATURES, latent_dim=2, generator_units=[], critic_units=[], activation="linear").generate(3, True)
    made = np.asarray(made, "float64")  # another model of the same seed makes the same
    loss, *_ = run(step, x={"numbers": X})
    # D(x) = kernel·x + bias, so the critic's loss is kernel·(mean G(z) − mean x)
    assert loss == pytest.approx(float(kernel[0, 0] * (made.mean() - X.mean())), rel=1e-4)
    moved = kernel[0, 0] - 0.1 * (made.mean() - X.mean())
    np.testing.assert_allclose(model.critic.trainable_variables[0].numpy()[0, 0], moved, rtol=1e-4)
    np.testing.assert_allclose(model.critic.trainable_variables[1].numpy(), bias, atol=1e-7)
    # the generator's is −D(G(z)), by the critic as it was
    np.testing.assert_allclose(model.generator.trainable_variables[1].numpy(), offset + 0.1 * kernel[0, 0], rtol=1e-4)
    assert step.algorithm.generator_loss.result().numpy() == pytest.approx(
        -float(kernel[0, 0] * made.mean() + bias[0]), rel=1e-4
    )


def test_gan_s_penalty_of_a_linear_critic(build: Any) -> None:
    model, step = make_gan(build, penalty=10.0)
    kernel = float(model.critic.trainable_variables[0].numpy()[0, 0])
    with_penalty, *_ = run(step, x={"numbers": X})
    _, plain = make_gan(build)
    without, *_ = run(plain, x={"numbers": X})
    assert with_penalty - without == pytest.approx(10 * (abs(kernel) - 1) ** 2, rel=1e-3)


def test_the_generator_waits_for_the_critic_s_steps(build: Any) -> None:
    model, step = make_gan(build, every=2)
    before = [v.numpy() for v in model.generator.trainable_variables]
    run(step, x={"numbers": X})
    for variable, value in zip(model.generator.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    run(step, x={"numbers": X}, first=1)
    assert not np.array_equal(model.generator.trainable_variables[1].numpy(), before[1])


def test_losses_must_be_those_of_the_groups(build: Any) -> None:
    model, step = make_gan(build)
    step.active = [build.group(model.trainable_variables, 0.1, "all")]
    with pytest.raises(ConfigError, match=r"a loss for each of critic, generator\. Received: all"):
        run(step, x={"numbers": X})
