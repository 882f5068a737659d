"""Environments that an agent acts in, a batch of episodes at a time.

`start(x)` returns the first observations, (B, D), for the examples x; `step(observations, actions)` returns the next
observations, the rewards, (B,), and whether each episode ended, (B,). Both are called inside the compiled program.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
import tensorflow as tf

from tfrun.errors import ConfigError


class CartPole:
    """Simulates a pole on a cart that is pushed to the left (action 0) or to the right (action 1).

    Observations are (B, 4): position in m, speed in m/s, angle in radians, angular speed in radians/s. Each step gives
    a reward of 1. An episode starts at its example and ends beyond 2.4 m to either side or beyond 12° from upright. The
    motion is that of Gymnasium's CartPole-v1, in TensorFlow operations.

    Source: Barto, Sutton and Anderson, "Neuronlike adaptive elements that can solve difficult learning control
    problems", 1983.
    """

    GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
    FARTHEST, STEEPEST = 2.4, 12.0 * math.pi / 180.0

    def start(self, x: tf.Tensor) -> tf.Tensor:
        if x.shape[1:] != (4,):
            raise ConfigError(f"algorithm.environment=cartpole: needs data.observation_size=4. Received: {x.shape[1:]}")
        return x

    def step(self, observations: tf.Tensor, actions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        position, speed, angle, turning = tf.unstack(observations, axis=1)
        force = tf.where(actions == 1, tf.constant(self.FORCE, angle.dtype), -self.FORCE)
        sine, cosine, mass = tf.sin(angle), tf.cos(angle), self.CART + self.POLE
        pull = (force + self.POLE * self.HALF_LENGTH * tf.square(turning) * sine) / mass
        lever = self.HALF_LENGTH * (4.0 / 3.0 - self.POLE * tf.square(cosine) / mass)
        turn = (self.GRAVITY * sine - cosine * pull) / lever
        push = pull - self.POLE * self.HALF_LENGTH * turn * cosine / mass
        moved = [
            position + self.SECONDS * speed,
            speed + self.SECONDS * push,
            angle + self.SECONDS * turning,
            turning + self.SECONDS * turn,
        ]
        fallen = (tf.abs(moved[0]) > self.FARTHEST) | (tf.abs(moved[2]) > self.STEEPEST)
        return tf.stack(moved, axis=1), tf.ones_like(position), fallen


class GymnasiumEnvironment:
    """Runs an environment of Gymnasium that has two actions; its steps run in Python, so XLA can't compile them.

    An episode's seed is a checksum of its example, so that an example always starts the same episode.

    Args:
        name: Gymnasium's name of the environment, for example CartPole-v1.

    Raises:
        ConfigError: Gymnasium isn't installed, has no such environment, or the environment doesn't have two actions and
            a vector of observations.
    """

    def __init__(self, name: str):
        try:
            import gymnasium
        except ImportError:
            raise ConfigError(
                f"algorithm.environment={name}: needs Gymnasium. Install it with: pip install 'tfrun[gymnasium]'"
            ) from None
        self._make = lambda: gymnasium.make(name)
        try:
            probe = self._make()
        except gymnasium.error.Error as error:
            raise ConfigError(f"algorithm.environment: Gymnasium refuses {name!r}: {error}") from error
        shape, num_actions = probe.observation_space.shape or (), getattr(probe.action_space, "n", 0)
        if num_actions != 2 or len(shape) != 1:
            raise ConfigError(
                f"algorithm.environment={name}: needs two actions and a vector of observations. Received: "
                f"{probe.action_space}, {probe.observation_space}"
            )
        self.observation_size = shape[0]
        self._environments: list[Any] = []
        self._ended = np.zeros(0, bool)

    def start(self, x: tf.Tensor) -> tf.Tensor:
        if x.shape[1:] != (self.observation_size,):
            raise ConfigError(
                f"algorithm.environment: needs data.observation_size={self.observation_size}. Received: {x.shape[1:]}"
            )
        observations = tf.numpy_function(self._start, [x], tf.float32)
        return tf.cast(tf.ensure_shape(observations, x.shape), x.dtype)

    def step(self, observations: tf.Tensor, actions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        next_observations, rewards, ended = tf.numpy_function(self._step, [actions], [tf.float32, tf.float32, tf.bool])
        batch = observations.shape[:1]
        return (
            tf.cast(tf.ensure_shape(next_observations, observations.shape), observations.dtype),
            tf.cast(tf.ensure_shape(rewards, batch), observations.dtype),
            tf.ensure_shape(ended, batch),
        )

    def _start(self, x: np.ndarray) -> np.ndarray:
        while len(self._environments) < len(x):
            self._environments.append(self._make())
        self._observations = np.stack(
            [
                environment.reset(seed=zlib.crc32(row.tobytes()))[0]
                for environment, row in zip(self._environments, x, strict=False)
            ]
        ).astype(np.float32)
        self._ended = np.zeros(len(x), bool)
        return self._observations

    def _step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        observations = self._observations.copy()
        rewards = np.zeros(len(actions), np.float32)
        for k in np.flatnonzero(~self._ended):
            observation, rewards[k], terminated, truncated, _ = self._environments[k].step(int(actions[k]))
            observations[k] = observation
            self._ended[k] = terminated or truncated
        self._observations = observations
        return observations, rewards, self._ended.copy()


def environment_named(name: str) -> CartPole | GymnasiumEnvironment:
    """Returns the built-in environment `cartpole`, or for any other name the one of Gymnasium.

    Raises:
        ConfigError: Gymnasium can't provide the environment.
    """
    return CartPole() if name == "cartpole" else GymnasiumEnvironment(name)
