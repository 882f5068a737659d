"""The process that PyTorch runs in: its threads sleep while others are timed. Imports neither PyTorch nor TensorFlow.

PyTorch itself is imported by torch_loop.py, which only the process imports.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.torch_task import Task


class Worker:
    """A process with a `torch_loop.Trainer`, whose methods `ask` calls; `start` makes one."""

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
            raise SystemExit("PyTorch's process ended; its error is above") from None

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
