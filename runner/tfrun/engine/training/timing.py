"""Where the training thread's time went."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

SECONDS = ("compile_seconds", "train_seconds", "eval_seconds", "checkpoint_seconds")


class Timing:
    """Seconds that the training thread has spent, by purpose.

    Args:
        clock: returns seconds.

    Attributes:
        compile_seconds: tracing and compiling, with the first block of the run and of each stage.
        train_seconds: all other blocks.
        eval_seconds: the test.
        checkpoint_seconds: copying the state, and waiting for the disk.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self.clock = clock
        self.compile_seconds = 0.0
        self.train_seconds = 0.0
        self.eval_seconds = 0.0
        self.checkpoint_seconds = 0.0
        self._timed_steps = 0

    @property
    def steps_per_second(self) -> float | None:
        """The rate of training alone, or None before a block was timed."""
        return self._timed_steps / self.train_seconds if self.train_seconds else None

    def add_block(self, num_steps: int, seconds: float, *, compiled: bool = False) -> None:
        """Adds a block's time.

        As long as nothing was compiled, a block is taken for the one that compiles; the first one of a run that uses
        the program of an earlier run too.

        Args:
            num_steps: its steps.
            seconds: how long it took.
            compiled: whether it was compiled meanwhile.
        """
        if self.compile_seconds > 0 and not compiled:
            self.train_seconds += seconds
            self._timed_steps += num_steps
        else:
            self.compile_seconds += seconds

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Adds the time inside the context to `eval_seconds`."""
        started = self.clock()
        yield
        self.eval_seconds += self.clock() - started

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Adds the time inside the context to `checkpoint_seconds`."""
        started = self.clock()
        yield
        self.checkpoint_seconds += self.clock() - started

    def added_to(self, earlier: Mapping[str, Any]) -> dict[str, float | None]:
        """Returns the entries of run.json.

        Args:
            earlier: the entries before this process resumed the run: its seconds are added, its rate is replaced.
        """
        total = {key: round((earlier.get(key) or 0.0) + getattr(self, key), 3) for key in SECONDS}
        return total | {"steps_per_second": self.steps_per_second and round(self.steps_per_second, 1)}
