"""JAX' bare loop, from a Keras model's weights: a jitted scan over the steps of an epoch, optax' Adam, a donated state.

It has neither metrics nor validation. Only the worker's process imports it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.machine import peak_bytes
from benchmarks.torch_task import Arrays, Task, Weights, numbered

Net = Callable[[Weights, jax.Array], jax.Array]


def dense(weights: Weights, name: str, x: jax.Array) -> jax.Array:
    """Applies a Keras dense layer."""
    y = x @ weights[f"{name}/kernel"]
    return y + weights[f"{name}/bias"] if f"{name}/bias" in weights else y


def mlp(weights: Weights, x: jax.Array) -> jax.Array:
    """Applies the registered mlp."""
    x = x.reshape(len(x), -1)
    for name in numbered(weights, "hidden"):
        x = jax.nn.relu(dense(weights, name, x))
    return dense(weights, "output", x)


def wide_deep(weights: Weights, x: jax.Array) -> jax.Array:
    """Applies the registered wide_deep, for numeric columns only."""
    deep = {path.removeprefix("deep/"): w for path, w in weights.items() if path.startswith("deep/")}
    return dense(weights, "wide", x) + mlp(deep, x)


def residual_mlp(weights: Weights, x: jax.Array) -> jax.Array:
    """Applies the registered residual_mlp."""
    x = jax.nn.elu(dense(weights, "entry", x.reshape(len(x), -1)))
    for block in numbered(weights, "block"):
        y = x
        for name in numbered(weights, f"{block}_hidden"):
            y = jax.nn.elu(dense(weights, name, y))
        x = x + y
    return dense(weights, "output", x)


def cnn(weights: Weights, x: jax.Array) -> jax.Array:
    """Applies the registered cnn."""
    x = x[..., None]
    for name in numbered(weights, "convolution"):
        kernel = weights[f"{name}/kernel"]
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + weights[f"{name}/bias"])
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = jax.nn.relu(dense(weights, "dense", x.reshape(len(x), -1)))
    return dense(weights, "output", x)


NETS: dict[str, Net] = {"wide_deep": wide_deep, "residual_mlp": residual_mlp, "mlp": mlp, "cnn": cnn}


def huber(y_pred: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the mean loss of a regression."""
    return optax.huber_loss(y_pred, y).mean()


def crossentropy(y_pred: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the mean loss of a classification, from logits."""
    return optax.softmax_cross_entropy_with_integer_labels(y_pred, y[:, 0].astype(jnp.int32)).mean()


LOSSES = {"huber": huber, "sparse_categorical_crossentropy": crossentropy}


class Trainer:
    """The loop; see `torch_loop.Trainer`, which has the same methods."""

    def __init__(self, task: Task):
        self.task = task
        self.started = time.perf_counter()
        rate, beta_1, beta_2, epsilon = (task.adam[key] for key in ("learning_rate", "beta_1", "beta_2", "epsilon"))

        def epsilon_of(step: jax.Array) -> jax.Array:
            """Returns Keras' epsilon, which is added before the second moment is corrected, as optax adds it."""
            return epsilon / jnp.sqrt(1 - beta_2 ** (step + 1))

        self.optimizer = optax.inject_hyperparams(optax.adam)(rate, beta_1, beta_2, epsilon_of)
        weights = {path: jnp.array(values) for path, values in task.weights.items()}
        self.state = (weights, self.optimizer.init(weights))
        self.loss = functools.partial(_loss, NETS[task.model], LOSSES[task.loss])
        self.epoch = jax.jit(functools.partial(_epoch, self.optimizer, self.loss), donate_argnums=0)
        self.train = self.placed(task.train)
        self.random = np.random.default_rng(0)

    def placed(self, data: Arrays) -> tuple[jax.Array, jax.Array]:
        """Returns the rows on the device."""
        x, y = data
        return jnp.array(x), jnp.array(y)

    def run(self, data: tuple[jax.Array, jax.Array], rows: np.ndarray) -> None:
        """Trains an epoch, of which `rows` has the row numbers of each step, and waits for the device."""
        self.state, losses = self.epoch(self.state, *data, rows.astype(np.int32))
        losses.block_until_ready()

    def val_loss_after_first_epoch(self) -> float:
        """Trains on the first epoch's rows in their order; returns the mean validation loss."""
        size = self.task.batch_size
        steps = len(self.task.first_epoch[1]) // size
        self.run(self.placed(self.task.first_epoch), np.arange(steps * size).reshape(steps, size))
        return float(self.loss(self.state[0], *self.placed(self.task.val)))

    def seconds(self, num_epochs: int) -> float:
        """Returns the seconds that the epochs take."""
        size, num_rows = self.task.batch_size, len(self.task.train[1])
        steps = num_rows // size
        started = time.perf_counter()
        for _ in range(num_epochs):
            self.run(self.train, self.random.permutation(num_rows)[: steps * size].reshape(steps, size))
        return time.perf_counter() - started

    def first_step_seconds(self) -> float:
        """Trains one step; returns the seconds since the start of building."""
        self.run(self.train, np.arange(self.task.batch_size)[None])
        return time.perf_counter() - self.started

    def memory(self) -> tuple[int, int | None]:
        """Returns the peak memory in bytes: the process', and the GPU's, if any."""
        device = jax.devices()[0]
        on_gpu = (device.memory_stats() or {}).get("peak_bytes_in_use") if device.platform == "gpu" else None
        return peak_bytes(), on_gpu


def _loss(net: Net, loss: Callable[..., jax.Array], weights: Weights, x: jax.Array, y: jax.Array) -> jax.Array:
    return loss(net(weights, x), y)


def _epoch(optimizer: Any, loss: Callable[..., jax.Array], state: Any, x: Any, y: Any, rows: Any) -> Any:
    """Trains a step for each line of `rows`; returns the state and the steps' losses."""

    def step(state: Any, batch: jax.Array) -> Any:
        weights, moments = state
        value, gradients = jax.value_and_grad(loss)(weights, x[batch], y[batch])
        updates, moments = optimizer.update(gradients, moments, weights)
        return (optax.apply_updates(weights, updates), moments), value

    return jax.lax.scan(step, state, rows)
