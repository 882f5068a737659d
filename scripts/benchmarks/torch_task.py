"""What PyTorch's process is asked to train. Imports neither PyTorch nor TensorFlow."""

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
        num_threads: PyTorch's threads on a CPU.
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
