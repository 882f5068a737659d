"""The process that PyTorch runs in: its threads rest while others are timed. Imports neither PyTorch nor TensorFlow."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]  # inputs and targets


@dataclass(frozen=True, repr=False)
class Task:
    """What to train, and how.

    Attributes:
        model: the registered model's name.
        loss: the registered loss' name.
        weights: the Keras model's, by path.
        adam: learning_rate, beta_1, beta_2 and epsilon.
        train, val, first_epoch: rows.
        batch_size: rows of a step.
        num_threads: PyTorch's, on a CPU.
    """

    model: str
    loss: str
    weights: dict[str, np.ndarray]
    adam: dict[str, float]
    train: Arrays
    val: Arrays
    first_epoch: Arrays
    batch_size: int
    num_threads: int


class Worker:
    """A process of its own with a `torch_loop.Trainer`, whose methods `ask` calls."""

    def __init__(self, task: Task):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, task), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the pipe

    def ask(self, method: str, *args: Any) -> Any:
        """Returns what the trainer's method gives back, after waiting for it."""
        self._pipe.send((method, args))
        try:
            return self._pipe.recv()
        except EOFError:
            raise SystemExit("the process that PyTorch runs in has ended; its error stands above") from None

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join()


def _serve(pipe: Connection, task: Task) -> None:
    from benchmarks.torch_loop import Trainer

    trainer = Trainer(task)
    while True:
        try:
            method, args = pipe.recv()
        except EOFError:
            return
        pipe.send(getattr(trainer, method)(*args))
