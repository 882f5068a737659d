"""The wide & deep of the tables' benchmark in JAX, its tables updated by rows, many steps a call.

The gradient is taken of the gathered rows. Those of an id are added up, and the sums are scattered into tables that the
call may overwrite. JAX has no such optimizer; this is what its users write by hand. Imports no
TensorFlow.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from benchmarks.machine import peak_bytes
from benchmarks.tables_data import DIM, TABLES, Batches

STEPS_PER_CALL = 100

Arrays = dict[str, Any]  # by the path of the Keras variable


def loss_and_hits(gathered: Arrays, others: Arrays, numbers: Any, targets: Any) -> tuple[Any, Any]:
    """Returns the mean loss and the number of rows that are predicted rightly; `gathered` are the tables' rows."""
    wide, deep = (gathered[path] for path in TABLES)
    h = jnp.concatenate([numbers, deep.reshape(len(numbers), -1)], axis=1)
    for k in (1, 2):
        h = jax.nn.relu(h @ others[f"deep/hidden_{k}/kernel"] + others[f"deep/hidden_{k}/bias"])
    z = h @ others["deep/output/kernel"] + numbers @ others["wide/kernel"] + others["wide/bias"] + wide.sum(1)
    loss = jnp.logaddexp(z, 0) - z * targets
    return loss.mean(), ((z > 0) == (targets > 0)).sum()


def step(state: tuple[Arrays, Arrays], batch: Any, *, optimizer: str, values: Mapping[str, float]) -> tuple[Any, Any]:
    """Trains on a batch (numbers, ids, targets); returns the new state, and the batch's loss and hits.

    Args:
        state: weights and accumulators.
        batch: numbers, ids and targets.
        optimizer: `sgd` or `adagrad`.
        values: the optimizer's, by Keras' names.
    """
    weights, sums = dict(state[0]), dict(state[1])
    numbers, ids, targets = batch
    others = {path: weight for path, weight in weights.items() if path not in TABLES}
    gathered = {path: weights[path][ids] for path in TABLES}
    function = jax.value_and_grad(loss_and_hits, argnums=(0, 1), has_aux=True)
    (loss, hits), (by_row, gradients) = function(gathered, others, numbers, targets)
    flat = ids.reshape(-1)
    distinct, place = jnp.unique(flat, return_inverse=True, size=flat.size, fill_value=weights[TABLES[0]].shape[0])
    rate, epsilon = values["learning_rate"], values.get("epsilon", 1e-7)

    for path, gradient in gradients.items():
        if optimizer == "adagrad":
            sums[path] += gradient**2
            gradient /= jnp.sqrt(sums[path] + epsilon)
        weights[path] -= rate * gradient
    for path in TABLES:
        rows = by_row[path].reshape(flat.size, -1)
        gradient = jax.ops.segment_sum(rows, place.reshape(-1), num_segments=flat.size)
        if optimizer == "adagrad":
            sums[path] = sums[path].at[distinct].add(gradient**2, mode="drop")
            gradient /= jnp.sqrt(sums[path].at[distinct].get(mode="fill", fill_value=1.0) + epsilon)
        weights[path] = weights[path].at[distinct].add(-rate * gradient, mode="drop")
    return (weights, sums), (loss, hits)


def program(optimizer: str, values: Mapping[str, float]) -> Callable[..., Any]:
    """Returns a compiled function of a state, the rows and the row numbers of each step, (steps, B)."""

    @functools.partial(jax.jit, donate_argnums=0)
    def call(state: Any, data: Any, order: Any) -> Any:
        def one(state: Any, rows: Any) -> Any:
            return step(state, [array[rows] for array in data], optimizer=optimizer, values=values)

        return jax.lax.scan(one, state, order)

    return call


def losses(folder: Path, optimizer: str, values: Mapping[str, float], batch_size: int) -> tuple[float, float]:
    """Trains the check's rows in their order; returns the mean training loss and the validation loss."""
    data = _rows(folder / "train")
    order = np.arange(len(data[2]) // batch_size * batch_size).reshape(-1, batch_size)
    start = _state(dict(np.load(folder / "weights.npz")), optimizer, values)
    (weights, _), (train_losses, _) = program(optimizer, values)(start, data, order)
    numbers, ids, targets = _rows(folder / "val")
    val_loss, _ = loss_and_hits({path: weights[path][ids] for path in TABLES}, weights, numbers, targets)
    return float(train_losses.mean()), float(val_loss)


def measure(
    folder: Path, optimizer: str, values: Mapping[str, float], *, batch_size: int, seconds: float
) -> dict[str, Any]:
    """Trains the rows in random order for some seconds; returns what it measured."""
    weights = dict(np.load(folder / "others.npz"))
    num_rows = int(weights.pop("table_rows"))
    random = np.random.default_rng(0)
    wide, deep = TABLES
    weights |= {wide: np.zeros((num_rows, 1), "float32"), deep: random.random((num_rows, DIM), dtype="float32") / 10}
    state = _state(weights, optimizer, values)
    del weights
    data = _rows(folder / "train")
    call = program(optimizer, values)

    def trained(state: Any) -> Any:
        order = random.integers(0, len(data[2]), (STEPS_PER_CALL, batch_size))
        state, results = call(state, data, order)
        np.asarray(results[0])  # waits for the device
        return state

    state = trained(state)  # compiles
    started, cpu_started = time.perf_counter(), time.process_time()
    steps = 0
    while time.perf_counter() < started + seconds:
        state = trained(state)
        steps += STEPS_PER_CALL
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    return {"steps_per_second": steps / wall, "cpu_ms": 1000 * cpu / steps, "peak_mb": peak_bytes() / 1e6}


def _state(weights: Mapping[str, np.ndarray], optimizer: str, values: Mapping[str, float]) -> tuple[Arrays, Arrays]:
    arrays = {path: jnp.asarray(weight) for path, weight in weights.items()}
    if optimizer == "sgd":
        return arrays, {}
    start = values["initial_accumulator_value"]
    return arrays, {path: jnp.full_like(weight, start) for path, weight in arrays.items()}


def _rows(folder: Path) -> list[Any]:
    batches = Batches.load(folder)
    return [jnp.asarray(array) for array in (batches.numbers, batches.ids, batches.targets)]
