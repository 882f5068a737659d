"""Learning to act, by policy gradients."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Le

from tfrun import register
from tfrun.components.algorithms.environments import environment_named
from tfrun.components.layers.draws import next_state, uniform

EVALUATION_STATE = (11, 11)  # the same luck at each validation


@register.algorithm("reinforce")
class Reinforce:
    """Plays an episode for each example of the batch, then follows the gradient of −Σ_t A_t·log π(a_t | s_t) / Σ_t 1.

    π is the model: one output is the logit of action 1 of two. A_t is the discounted sum of rewards from t on, less the
    batch's mean, divided by its deviation. An example of `data=episodes` is an episode's start. The data's target
    isn't used; `episode_return`, the mean sum of rewards, is reported, and val/loss is −1 times that.

    Source: Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning",
    1992; Géron, chapter 18.

    Args:
        environment: `cartpole`, which is compiled with the step, or the name of one of Gymnasium's (the extra
            `gymnasium`) with two actions.
        discount: what a reward counts a step later.
        max_episode_steps: an episode is cut off after so many.
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
        self.luck = keras.random.SeedGenerator(name="luck")

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.episode_return]

    @property
    def variables(self) -> list[Any]:
        return [self.luck.state]

    def forward(self, model: Any, loss: Any, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the policy's surrogate loss and the episodes' returns, (B, 1)."""
        observations, actions, rewards, lives = tf.nest.map_structure(
            tf.stop_gradient, self._play(model, x, next_state(self.luck))
        )
        returns = self._discounted(rewards)
        count = tf.reduce_sum(lives)
        mean = tf.reduce_sum(returns * lives) / count
        deviation = tf.sqrt(tf.reduce_sum(tf.square(returns - mean) * lives) / count)
        advantages = (returns - mean) / (deviation + 1e-6)
        logits = model(tf.reshape(observations, [-1, observations.shape[-1]]), training=True)
        chosen = tf.reshape(tf.cast(actions, logits.dtype), [-1, 1])
        surprise = tf.nn.sigmoid_cross_entropy_with_logits(chosen, logits)  # −log π(a | s)
        total = tf.reduce_sum(surprise[:, 0] * tf.reshape(advantages * lives, [-1])) / count
        sums = tf.reduce_sum(rewards, axis=0)
        self.episode_return.update_state(sums)
        return tf.add_n([total, *model.losses]), sums[:, None]

    def evaluate(self, model: Any, loss: Any, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns −1 times the episodes' returns, (B,), and the returns, (B, 1)."""
        _, _, rewards, _ = self._play(model, x, EVALUATION_STATE)
        sums = tf.reduce_sum(rewards, axis=0)
        self.episode_return.update_state(sums)
        return -sums, sums[:, None]

    def _play(self, model: Any, x: tf.Tensor, state: Any) -> tuple[tf.Tensor, ...]:
        """Returns observations (T, B, D), actions, rewards and 1 while an episode lives, each (T, B)."""
        steps, batch = self.max_episode_steps, x.shape[0]
        draws = uniform([steps, batch], state)
        first = self.environment.start(x)
        arrays = (
            tf.zeros([steps, *first.shape]),
            tf.zeros([steps, batch], tf.int32),
            tf.zeros([steps, batch]),
            tf.zeros([steps, batch]),
        )

        def step(t: Any, observations: Any, lives: Any, arrays: Any) -> tuple[Any, ...]:
            chances = tf.sigmoid(model(observations, training=False)[:, 0])
            actions = tf.cast(draws[t] < chances, tf.int32)
            after, rewards, ended = self.environment.step(observations, actions)
            is_living = tf.cast(lives, tf.float32)
            values = (observations, actions, rewards * is_living, is_living)
            arrays = tuple(
                tf.tensor_scatter_nd_update(array, [[t]], [value]) for array, value in zip(arrays, values, strict=True)
            )
            return t + 1, tf.where(lives[:, None], after, observations), lives & ~ended, arrays

        living = tf.ones([batch], tf.bool)
        is_on = lambda t, observations, lives, arrays: (t < steps) & tf.reduce_any(lives)  # noqa: E731
        *_, arrays = tf.while_loop(is_on, step, (tf.constant(0), first, living, arrays), maximum_iterations=steps)
        return arrays

    def _discounted(self, rewards: tf.Tensor) -> tf.Tensor:
        """Returns Σ_k discount^k·r_{t+k} for each t, (T, B)."""
        sums = tf.scan(lambda later, own: own + self.discount * later, tf.reverse(rewards, [0]))
        return tf.reverse(sums, [0])
