"""Defines `reinforce`, which learns to act by policy gradients."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Le

from tfrun import register
from tfrun.components.algorithms.environments import environment_named
from tfrun.components.layers.draws import next_state, uniform

EVALUATION_STATE = (11, 11)  # every validation draws the same actions' random numbers


@register.algorithm("reinforce")
class Reinforce:
    """REINFORCE policy gradient: plays an episode for each example of the batch, then follows the gradient of −Σ_t
    A_t·log π(a_t | s_t) / Σ_t 1.

    π is the model: its one output is the logit of action 1 of two actions. A_t is the discounted sum of the rewards
    from t on, minus the batch's mean, divided by the batch's standard deviation. An example of `data=episodes` is the
    start of an episode; the data's target isn't used. The mean sum of rewards is reported as `episode_return`, and
    val/loss is −1 times that.

    Source: Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning",
    1992; Géron, chapter 18.

    Args:
        environment: `cartpole`, which is compiled with the step, or the name of an environment of Gymnasium (the extra
            `gymnasium`) with two actions.
        discount: the factor on a reward for each step that it lies in the future.
        max_episode_steps: the largest number of steps of an episode.

    Raises:
        ConfigError: the environment isn't available, or its observations don't fit the data.
    """

    own_targets = True

    def __init__(
        self,
        environment: str = "cartpole",
        discount: Annotated[float, Gt(0), Le(1)] = 0.95,
        max_episode_steps: Annotated[int, Ge(2)] = 500,
    ):
        self.environment = environment_named(environment)
        self.discount = discount
        self.max_episode_steps = max_episode_steps
        self.episode_return = keras.metrics.Mean("episode_return")
        self.episode_return.higher_is_better = True
        self.luck = keras.random.SeedGenerator(name="luck")

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.episode_return]

    @property
    def variables(self) -> list[Any]:
        return [self.luck.state]

    def forward(self, model: Any, loss: Any, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the surrogate loss of the policy, a scalar, and the episodes' sums of rewards, (B, 1)."""
        observations, actions, rewards, is_running = tf.nest.map_structure(
            tf.stop_gradient, self._play(model, x, next_state(self.luck))
        )
        returns = self._discounted(rewards)
        count = tf.reduce_sum(is_running)
        mean = tf.reduce_sum(returns * is_running) / count
        deviation = tf.sqrt(tf.reduce_sum(tf.square(returns - mean) * is_running) / count)
        advantages = (returns - mean) / (deviation + 1e-6)
        logits = model(tf.reshape(observations, [-1, observations.shape[-1]]), training=True)
        chosen = tf.reshape(tf.cast(actions, logits.dtype), [-1, 1])
        negative_log_p = tf.nn.sigmoid_cross_entropy_with_logits(chosen, logits)  # −log π(a | s)
        total = tf.reduce_sum(negative_log_p[:, 0] * tf.reshape(advantages * is_running, [-1])) / count
        sums = tf.reduce_sum(rewards, axis=0)
        self.episode_return.update_state(sums)
        return tf.add_n([total, *model.losses]), sums[:, None]

    def evaluate(self, model: Any, loss: Any, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns −1 times the episodes' sums of rewards, (B,), and the sums, (B, 1)."""
        _, _, rewards, _ = self._play(model, x, EVALUATION_STATE)
        sums = tf.reduce_sum(rewards, axis=0)
        self.episode_return.update_state(sums)
        return -sums, sums[:, None]

    def _play(self, model: Any, x: tf.Tensor, state: Any) -> tuple[tf.Tensor, ...]:
        """Plays an episode for each example.

        Returns:
            The observations, (T, B, D); the actions, the rewards, and 1 while an episode runs, else 0, each (T, B).
        """
        steps, batch = self.max_episode_steps, x.shape[0]
        first = self.environment.start(x)
        dtype = first.dtype
        draws = uniform([steps, batch], state, dtype)
        arrays = (
            tf.zeros([steps, *first.shape], dtype),
            tf.zeros([steps, batch], tf.int32),
            tf.zeros([steps, batch], dtype),
            tf.zeros([steps, batch], dtype),
        )

        def step(t: Any, observations: Any, running: Any, arrays: Any) -> tuple[Any, ...]:
            probabilities = tf.sigmoid(tf.cast(model(observations, training=False)[:, 0], dtype))
            actions = tf.cast(draws[t] < probabilities, tf.int32)
            next_observations, rewards, ended = self.environment.step(observations, actions)
            is_running = tf.cast(running, dtype)
            values = (observations, actions, rewards * is_running, is_running)
            arrays = tuple(
                tf.tensor_scatter_nd_update(array, [[t]], [value]) for array, value in zip(arrays, values, strict=True)
            )
            observations = tf.where(running[:, None], next_observations, observations)
            return t + 1, observations, running & ~ended, arrays

        def any_running(t: Any, observations: Any, running: Any, arrays: Any) -> tf.Tensor:
            return (t < steps) & tf.reduce_any(running)

        start = (tf.constant(0), first, tf.ones([batch], tf.bool), arrays)
        *_, arrays = tf.while_loop(any_running, step, start, maximum_iterations=steps)
        return arrays

    def _discounted(self, rewards: tf.Tensor) -> tf.Tensor:
        """Returns Σ_k discount^k·r_{t+k} for each t, (T, B)."""
        sums = tf.scan(lambda later, reward: reward + self.discount * later, tf.reverse(rewards, [0]))
        return tf.reverse(sums, [0])
