"""What the process of PyTorch or JAX is asked to train. Imports neither of them, nor TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]  # inputs and targets
Weights = dict[str, np.ndarray]  # by the path of the Keras variable


@dataclass(frozen=True, repr=False, kw_only=True)
class Task:
    """The model to train, its initial weights, the rows, and the settings.

    Attributes:
        model: the registered model's name.
        loss: the registered loss' name.
        weights: the Keras model's initial weights.
        adam: learning_rate, beta_1, beta_2 and epsilon.
        train, val, first_epoch: rows.
        batch_size: rows of a step.
        num_threads: PyTorch's threads on a CPU; JAX has as many as there are cores.
        library: `torch` or `jax`.
    """

    model: str
    loss: str
    weights: Weights
    adam: dict[str, float]
    train: Arrays
    val: Arrays
    first_epoch: Arrays
    batch_size: int
    num_threads: int
    library: str = "torch"


def numbered(weights: Weights, name: str) -> list[str]:
    """Returns name_1, name_2, …, up to the last number that has weights."""
    names: list[str] = []
    while any(path.startswith(f"{name}_{len(names) + 1}") for path in weights):
        names.append(f"{name}_{len(names) + 1}")
    return names
