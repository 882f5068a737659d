"""Compares algorithms with NumPy, most of them on y = w·x + b with the squared error."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.algorithms.adversarial import Gan
from tfrun.components.algorithms.environments import CartPole, GymnasiumEnvironment
from tfrun.components.algorithms.meta import Maml
from tfrun.components.algorithms.penalized import GradientPenalty
from tfrun.components.algorithms.policy import Reinforce
from tfrun.components.algorithms.reconstruct import Reconstruct
from tfrun.components.algorithms.sharpness import Sam
from tfrun.components.losses.adversarial import Wasserstein
from tfrun.components.models.autoencoder import Autoencoder
from tfrun.components.models.gan import GanModel
from tfrun.components.models.pointwise import Pointwise
from tfrun.data.table import Features
from tfrun.data.targets import TargetScale
from tfrun.engine.training.epoch_metrics import EpochMetrics
from tfrun.engine.training.step import Step
from tfrun.errors import ConfigError
from tfrun.protocols import MAIN_OUTPUT, AlgorithmOffer

X = np.array([[1.0], [2.0], [-1.0]], np.float32)
Y = np.array([[2.0], [4.0], [0.5]], np.float32)
ROWS = tf.constant([0, 1, 2])


def squared(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(y_pred - y_true), axis=-1)


def step_of(model: keras.Model, algorithm: Any, groups: Any, loss: Any = squared) -> Step:
    return Step(
        tf.distribute.get_strategy(),
        model,
        algorithm=AlgorithmOffer.of(algorithm),
        loss=loss,
        groups=groups,
        metrics=EpochMetrics([], {MAIN_OUTPUT: TargetScale()}),
    )


def run(step: Step, x: Any = X, y: Any = Y, first: int = 0) -> list[np.ndarray]:
    data = tf.nest.map_structure(tf.constant, (x, y, ()))
    compiled = tf.function(lambda: step(data, ROWS, tf.constant(first, tf.int64)), autograph=False)
    return [value.numpy() for value in compiled()]


def gradient(w: float, b: float) -> np.ndarray:
    e = w * X + b - Y
    return np.array([np.mean(2 * e * X), np.mean(2 * e)])


def test_sam_steps_by_the_gradient_at_the_neighbour(build: Any) -> None:
    model = build.linear([0.5], 0.25)
    loss, norm, _, ok = run(step_of(model, Sam(rho=0.3), [build.group(model.trainable_variables, 0.1)]))
    at_weights = gradient(0.5, 0.25)
    at_neighbour = gradient(*(np.array([0.5, 0.25]) + 0.3 * at_weights / np.linalg.norm(at_weights)))
    expected = np.array([0.5, 0.25]) - 0.1 * at_neighbour
    assert ok
    np.testing.assert_allclose([float(np.ravel(v.numpy())[0]) for v in model.trainable_variables], expected, rtol=1e-5)
    assert loss == pytest.approx(np.mean((0.5 * X + 0.25 - Y) ** 2), rel=1e-5)
    assert norm == pytest.approx(np.linalg.norm(at_neighbour), rel=1e-5)


def test_sam_leaves_the_weights_alone_if_a_value_is_not_finite(build: Any) -> None:
    model = build.linear([0.5], 0.25)
    bad = np.array([[1.0], [np.inf], [0.0]], np.float32)
    *_, ok = run(step_of(model, Sam(), [build.group(model.trainable_variables, 0.1)]), x=bad)
    assert not ok
    assert [float(np.ravel(v.numpy())[0]) for v in model.trainable_variables] == [0.5, 0.25]


def test_gradient_penalty_uses_the_gradient_by_the_inputs(build: Any) -> None:
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
    twin = GanModel(FEATURES, latent_dim=2, generator_units=[], critic_units=[], activation="linear")
    generated = np.asarray(twin.generate(3, True), "float64")  # a model with the same seed generates the same
    loss, *_ = run(step, x={"numbers": X})
    # D(x) = kernel·x + bias, so the critic's loss is kernel·(mean G(z) − mean x)
    assert loss == pytest.approx(float(kernel[0, 0] * (generated.mean() - X.mean())), rel=1e-4)
    moved = kernel[0, 0] - 0.1 * (generated.mean() - X.mean())
    np.testing.assert_allclose(model.critic.trainable_variables[0].numpy()[0, 0], moved, rtol=1e-4)
    np.testing.assert_allclose(model.critic.trainable_variables[1].numpy(), bias, atol=1e-7)
    # the generator's loss is −D(G(z)), with the critic from before its update
    np.testing.assert_allclose(model.generator.trainable_variables[1].numpy(), offset + 0.1 * kernel[0, 0], rtol=1e-4)
    assert step.algorithm.component.generator_loss.result().numpy() == pytest.approx(
        -float(kernel[0, 0] * generated.mean() + bias[0]), rel=1e-4
    )


def test_gan_penalizes_the_slope_of_a_linear_critic(build: Any) -> None:
    model, step = make_gan(build, penalty=10.0)
    kernel = float(model.critic.trainable_variables[0].numpy()[0, 0])
    with_penalty, *_ = run(step, x={"numbers": X})
    _, plain = make_gan(build)
    without, *_ = run(plain, x={"numbers": X})
    assert with_penalty - without == pytest.approx(10 * (abs(kernel) - 1) ** 2, rel=1e-3)


def test_the_generator_steps_every_second_time(build: Any) -> None:
    model, step = make_gan(build, every=2)
    before = [v.numpy() for v in model.generator.trainable_variables]
    run(step, x={"numbers": X})
    for variable, value in zip(model.generator.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    run(step, x={"numbers": X}, first=1)
    assert not np.array_equal(model.generator.trainable_variables[1].numpy(), before[1])


def test_losses_must_match_the_optimizer_groups(build: Any) -> None:
    model, step = make_gan(build)
    step.active = [build.group(model.trainable_variables, 0.1, "all")]
    with pytest.raises(ConfigError, match=r"a loss for each of critic, generator\. Received: all"):
        run(step, x={"numbers": X})


TASKS = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")  # three tasks, two points in each set


def maml_in_numpy(w: float, b: float, inner_rate: float, first_order: bool = False) -> tuple[float, np.ndarray]:
    """Returns the mean query loss after one inner step, and its gradient by w and b."""

    def loss(w: float, b: float, points: np.ndarray) -> float:
        return float(np.mean((w * points[:, 0] + b - points[:, 1]) ** 2))

    def slope(w: float, b: float, points: np.ndarray) -> np.ndarray:
        e = w * points[:, 0] + b - points[:, 1]
        return np.array([np.mean(2 * e * points[:, 0]), np.mean(2 * e)])

    total, gradient = 0.0, np.zeros(2)
    for task in TASKS.astype("float64"):
        support, query = task[:2], task[2:]
        adapted_w, adapted_b = np.array([w, b]) - inner_rate * slope(w, b, support)
        x = support[:, 0]
        hessian = 2 * np.array([[np.mean(x**2), np.mean(x)], [np.mean(x), 1.0]])
        jacobian = np.eye(2) if first_order else np.eye(2) - inner_rate * hessian
        total += loss(adapted_w, adapted_b, query) / len(TASKS)
        gradient += jacobian @ slope(adapted_w, adapted_b, query) / len(TASKS)
    return total, gradient


@pytest.mark.parametrize("first_order", [False, True])
def test_maml_differentiates_through_the_inner_step(build: Any, first_order: bool) -> None:
    model = Pointwise(Features({}, {}, {"points": (4, 2)}), hidden_units=[])
    model(tf.constant(TASKS))
    kernel, bias = model.trainable_variables
    kernel.assign([[0.5]])
    bias.assign([0.25])
    algorithm = Maml(inner_learning_rate=0.1, first_order=first_order)
    step = step_of(model, algorithm, [build.group(model.trainable_variables, 0.2)])
    loss, *_ = run(step, x=TASKS)
    expected, gradient = maml_in_numpy(0.5, 0.25, 0.1, first_order)
    assert loss == pytest.approx(expected, rel=1e-5)
    moved = [float(kernel.numpy()[0, 0]), float(bias.numpy()[0])]
    np.testing.assert_allclose(moved, np.array([0.5, 0.25]) - 0.2 * gradient, rtol=1e-4)
    query = TASKS[:, 2:]
    before = np.mean((0.5 * query[..., 0] + 0.25 - query[..., 1]) ** 2)
    assert float(algorithm.loss_before.result()) == pytest.approx(before, rel=1e-5)


def test_cart_pole_follows_its_equations_of_motion() -> None:
    state = np.array([[0.1, -0.2, 0.05, 0.3], [2.39, 1.0, 0.0, 0.0], [0.0, 0.0, -0.209, -0.5]])
    after, rewards, ended = CartPole().step(tf.constant(state, "float32"), tf.constant([1, 1, 0]))
    force, total = np.array([10.0, 10.0, -10.0]), 1.1
    x, v, a, w = state.T
    pull = (force + 0.05 * w**2 * np.sin(a)) / total
    turn = (9.8 * np.sin(a) - np.cos(a) * pull) / (0.5 * (4 / 3 - 0.1 * np.cos(a) ** 2 / total))
    push = pull - 0.05 * turn * np.cos(a) / total
    expected = np.stack([x + 0.02 * v, v + 0.02 * push, a + 0.02 * w, w + 0.02 * turn], axis=1)
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)
    assert rewards.numpy().tolist() == [1.0, 1.0, 1.0]
    assert ended.numpy().tolist() == [False, True, True]


def test_cart_pole_equals_that_of_gymnasium() -> None:
    gymnasium = pytest.importorskip("gymnasium", reason="Gymnasium isn't installed")
    environment = GymnasiumEnvironment("CartPole-v1")
    x = tf.constant(np.random.default_rng(0).uniform(-0.05, 0.05, (3, 4)), tf.float32)
    expected = observations = environment.start(x)
    np.testing.assert_array_equal(environment.start(x), observations)  # an example is a seed
    for action in (0, 1, 1, 1, 0):
        actions = tf.constant([action, 1 - action, 1])
        observations, rewards, ended = environment.step(observations, actions)
        expected, _, _ = CartPole().step(expected, actions)
        np.testing.assert_allclose(observations, expected, atol=1e-5)
        assert rewards.numpy().tolist() == [1, 1, 1] and not ended.numpy().any()
    assert gymnasium.__version__


def test_reinforce_discounts_returns() -> None:
    algorithm = Reinforce(discount=0.5)
    rewards = tf.constant([[1.0, 1.0], [1.0, 0.0], [4.0, 0.0]])
    np.testing.assert_allclose(algorithm._discounted(rewards), [[2.5, 1.0], [3.0, 0.0], [4.0, 0.0]])


def test_reinforce_follows_the_policy_gradient(build: Any) -> None:
    keras.utils.set_random_seed(0)
    model = build.linear([0.1, -0.2, 3.0, 1.0], 0.05)
    x = np.random.default_rng(1).uniform(-0.05, 0.05, (3, 4)).astype("float32")
    algorithm = Reinforce(max_episode_steps=12, discount=0.9)
    state = algorithm.luck.state.numpy()
    step = step_of(model, algorithm, [build.group(model.trainable_variables, 0.1)])
    run(step, x=x)
    moved = np.concatenate([np.ravel(v.numpy()) for v in model.trainable_variables])

    twin = build.linear([0.1, -0.2, 3.0, 1.0], 0.05)
    observations, actions, rewards, is_running = (np.asarray(a) for a in algorithm._play(twin, tf.constant(x), state))
    assert is_running[0].all() and set(np.unique(actions)) <= {0, 1}
    returns = np.zeros_like(rewards)
    for t in reversed(range(12)):
        returns[t] = rewards[t] + (0.9 * returns[t + 1] if t < 11 else 0)
    counted = returns[is_running == 1]
    advantages = (returns - counted.mean()) / (counted.std() + 1e-6)
    logits = observations @ np.array([0.1, -0.2, 3.0, 1.0]) + 0.05
    # d(−log π)/d logit = σ(logit) − action
    slope = is_running * advantages * (1 / (1 + np.exp(-logits)) - actions) / is_running.sum()
    gradient = np.append(np.einsum("tb,tbd->d", slope, observations), slope.sum())
    np.testing.assert_allclose(moved, np.array([0.1, -0.2, 3.0, 1.0, 0.05]) - 0.1 * gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("environment", ["cartpole", "CartPole-v1"])
def test_episodes_are_played_in_the_dtype_of_the_examples(environment: str, build: Any) -> None:
    if environment != "cartpole":
        pytest.importorskip("gymnasium")
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        model = build.linear([0.1, -0.2, 3.0, 1.0], 0.05)
        x = np.random.default_rng(1).uniform(-0.05, 0.05, (3, 4))
        algorithm = Reinforce(environment=environment, max_episode_steps=5)
        step = step_of(model, algorithm, [build.group(model.trainable_variables, 0.1)])
        _, _, _, ok = run(step, x=x)
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    assert ok
    observations, _, rewards, _ = algorithm._play(model, tf.constant(x), algorithm.luck.state)
    assert observations.dtype == rewards.dtype == tf.float64
    assert rewards.numpy().sum() == 15  # no pole falls within 5 steps


def test_an_environment_refuses_observations_of_another_size() -> None:
    with pytest.raises(ConfigError, match=r"cartpole: needs data\.observation_size=4\. Received: \(3,\)"):
        CartPole().start(tf.zeros([2, 3]))


def test_reconstruct_compares_with_the_inputs(build: Any) -> None:
    model = Autoencoder(FEATURES, code_size=1, hidden_units=[], activation="linear")
    model({"numbers": tf.constant(X)})
    model.code_layer.set_weights([np.array([[2.0]]), np.zeros(1)])
    model.output_layer.set_weights([np.array([[1.5]]), np.ones(1)])
    step = step_of(model, Reconstruct(), [build.group(model.trainable_variables, 0.1)])
    loss, *_ = run(step, x={"numbers": X})
    restored = 3 * X + 1
    assert loss == pytest.approx(np.mean((restored - X) ** 2), rel=1e-6)
    losses, y_pred = step.evaluate(squared, {"numbers": tf.constant(X)}, tf.constant(Y))
    assert losses.shape == (3,) and y_pred.shape == (3, 1)
    with pytest.raises(ConfigError, match="Use model=autoencoder"):
        step_of(build.linear([0.5], 0.25), Reconstruct(), []).evaluate(squared, X, Y)
