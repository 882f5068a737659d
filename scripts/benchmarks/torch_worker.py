"""The process that PyTorch or JAX runs in: its threads sleep while others are timed. Imports neither, nor TensorFlow.

They are imported by torch_loop.py and jax_loop.py, which only the process imports.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.torch_task import Task


class Worker:
    """A process with the `Trainer` of torch_loop.py or jax_loop.py, whose methods `ask` calls; `start` makes one."""

    def __init__(self, process: BaseProcess, pipe: Connection):
        self._process = process
        self._pipe = pipe

    @staticmethod
    def start(task: Task) -> Worker:
        """Starts a process that builds a trainer for the task."""
        context = multiprocessing.get_context("spawn")
        pipe, end_of_process = context.Pipe()
        process = context.Process(target=_serve, args=(end_of_process, task), daemon=True)
        process.start()
        end_of_process.close()  # only the process holds it now, so its death closes the pipe
        return Worker(process, pipe)

    def ask(self, method: str, *args: Any) -> Any:
        """Calls a method of the trainer; waits for its result and returns it."""
        self._pipe.send((method, args))
        try:
            return self._pipe.recv()
        except EOFError:
            raise SystemExit("the process of PyTorch or JAX ended; its error is above") from None

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join()


def _serve(pipe: Connection, task: Task) -> None:
    trainer: Any
    if task.library == "jax":
        from benchmarks import jax_loop

        trainer = jax_loop.Trainer(task)
    else:
        from benchmarks import torch_loop

        trainer = torch_loop.Trainer(task)
    while True:
        try:
            method, args = pipe.recv()
        except EOFError:
            return
        pipe.send(getattr(trainer, method)(*args))
