"""The contenders behind one interface, and the list of them.

Those that are timed in one process share it; a contender can be pickled until it is started, so that a fresh process
can measure its first step and its memory.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from benchmarks import keras_loops
from benchmarks.cases import ONE_ADAM, Case
from benchmarks.machine import peak_bytes
from benchmarks.setup import Reference, Setup, Train, build, take, val_loss
from benchmarks.tfrun_run import Run, run_tfrun
from benchmarks.torch_worker import Task, Worker

BASE = "fit() default"
LIMIT = "bare loop"
EAGER_STEPS = 30  # of a call: an epoch of them would take as long as everyone else together
OPTIONAL = {  # the modules that they need, how to install them
    "Orbit": (("orbit", "tf_keras"), "pip install --no-deps tf-models-official tf-keras"),
    "PyTorch": (("torch",), "pip install torch"),
}


@dataclass(frozen=True)
class Usage:
    """What a contender takes in a process of its own.

    Attributes:
        first_step_seconds: from the start of building to the end of the first step (the first call, where that is
            several steps), imports apart.
        peak_bytes: the most memory the process had, imports included.
        gpu_peak_bytes: the most it had of a GPU's.
    """

    first_step_seconds: float
    peak_bytes: int
    gpu_peak_bytes: int | None = None


class Contender(Protocol):
    """Someone who trains; `words` are the overrides of what it trains."""

    name: str
    words: Sequence[str]

    def difference(self, expected: Reference) -> float:
        """Trains the reference's epoch from the initial weights; returns how far from its losses the own ones are."""

    def start(self) -> None:
        """Builds and warms up."""

    def rates(self) -> dict[str, float]:
        """Trains for a while; returns steps per second, by name."""

    def usage(self) -> Usage:
        """Returns what it takes; to be called in a process that has done nothing else."""

    def close(self) -> None:
        """Frees what it holds."""


@dataclass
class Tfrun:
    """The whole program, with everything that it does by default and a checkpoint on the way.

    Attributes:
        mode: for the check, whose single epoch is too short for `auto` to pick what it picks for the whole run.
        epochs: of a run.
    """

    name: str
    words: Sequence[str]
    mode: str
    epochs: int

    def difference(self, expected: Reference) -> float:
        line = run_tfrun([*expected.words, f"trainer.compile={self.mode}", "trainer.max_epochs=1"]).last_line
        return max(abs(line["train/loss"] / expected.train_loss - 1), abs(line["val/loss"] / expected.val_loss - 1))

    def start(self) -> None:
        self._run()

    def rates(self) -> dict[str, float]:
        run = self._run()
        if run.num_checkpoints < 2:
            raise SystemExit("the run has no checkpoint but the last one; one on the way has to be timed")
        return {self.name: run.rate, f"{self.name}: within its blocks": run.rate_in_blocks}

    def usage(self) -> Usage:
        return Usage(self._run().first_step_seconds, *memory())

    def close(self) -> None:
        pass

    def _run(self) -> Run:
        whole = [f"trainer.max_epochs={self.epochs}", f"checkpoint.every_epochs={self.epochs // 2}"]
        return run_tfrun([*self.words, *whole])


@dataclass
class Loop:
    """A loop over the Keras model in this process.

    Attributes:
        how: gives the loop of a setup.
        seconds: about how long to train at a time.
        most_steps: of one call, where an epoch would take too long.
    """

    name: str
    words: Sequence[str]
    how: Callable[[Setup], Train]
    seconds: float
    most_steps: int | None = None
    _setup: Setup | None = field(default=None, init=False, repr=False)
    _call: Callable[[], float] | None = field(default=None, init=False, repr=False)

    def difference(self, expected: Reference) -> float:
        setup = build(expected.words)
        self.how(setup)(setup.first_epoch, setup.val, 1, False)
        return abs(val_loss(setup, expected.loss) / expected.val_loss - 1)

    def start(self) -> None:
        setup = build(self.words)
        train = self.how(setup)
        steps = min(setup.steps_per_epoch, self.most_steps or setup.steps_per_epoch)
        rows = take(setup.train, np.arange(steps * setup.batch_size)) if self.most_steps else setup.train

        def rate(epochs: int) -> float:
            started = time.perf_counter()
            train(rows, setup.val, epochs, True)
            return epochs * steps / (time.perf_counter() - started)

        rate(1)  # traces and compiles
        self._call = functools.partial(rate, max(1, round(self.seconds * rate(1) / steps)))

    def rates(self) -> dict[str, float]:
        assert self._call is not None
        return {self.name: self._call()}

    def usage(self) -> Usage:
        started = time.perf_counter()
        setup = build(self.words)
        train = self.how(setup)
        train(take(setup.train, np.arange(setup.batch_size)), None, 1, False)
        seconds = time.perf_counter() - started
        train(setup.train, setup.val, 1, True)
        return Usage(seconds, *memory())

    def close(self) -> None:
        self._call = None


@dataclass
class Torch:
    """PyTorch's plain loop in its own process, from the weights that the Keras model starts with."""

    name: str
    words: Sequence[str]
    case: Case
    num_threads: int
    seconds: float
    _worker: Worker | None = field(default=None, init=False, repr=False)

    def difference(self, expected: Reference) -> float:
        worker = Worker(self._task(expected.words))
        try:
            return abs(worker.ask("val_loss_after_first_epoch") / expected.val_loss - 1)
        finally:
            worker.close()

    def start(self) -> None:
        task = self._task(self.words)
        self._worker, self._steps = Worker(task), len(task.train[1]) // task.batch_size
        self._worker.ask("seconds", 1)
        self._epochs = max(1, round(self.seconds / self._worker.ask("seconds", 1)))

    def rates(self) -> dict[str, float]:
        assert self._worker is not None
        return {self.name: self._epochs * self._steps / self._worker.ask("seconds", self._epochs)}

    def usage(self) -> Usage:
        worker = Worker(self._task(self.words))
        try:
            seconds = worker.ask("first_step_seconds")
            worker.ask("seconds", 1)
            return Usage(seconds, *worker.ask("memory"))
        finally:
            worker.close()

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _task(self, words: Sequence[str]) -> Task:
        setup = build(words)
        (optimizer, _), *others = setup.optimizers
        assert not others, "PyTorch's loop has one Adam"
        config = optimizer.get_config()

        def arrays(data: Any) -> tuple[np.ndarray, np.ndarray]:
            (inputs,) = tf.nest.flatten(data[0])
            return inputs, data[1]

        return Task(
            self.case.model,
            self.case.loss,
            {variable.path: variable.numpy() for variable in setup.model.trainable_variables},
            {key: float(config[key]) for key in ("learning_rate", "beta_1", "beta_2", "epsilon")},
            arrays(setup.train),
            arrays(setup.val),
            arrays(setup.first_epoch),
            setup.batch_size,
            self.num_threads,
        )


def memory() -> tuple[int, int | None]:
    """Returns the peaks in bytes: the process', and the GPU's if there is one."""
    on_gpu = tf.config.list_logical_devices("GPU")
    return peak_bytes(), tf.config.experimental.get_memory_info("GPU:0")["peak"] if on_gpu else None


def missing() -> dict[str, str]:
    """Returns the optional contenders that are not installed, each with how to install it."""
    return {
        name: how
        for name, (modules, how) in OPTIONAL.items()
        if not all(importlib.util.find_spec(module) for module in modules)
    }


def all_contenders(case: Case, words: Sequence[str], epochs: int, seconds: float) -> list[Contender]:
    """Returns the contenders in the order of the table.

    Args:
        case: the work.
        words: its overrides, with those of the data set.
        epochs: of tfrun's run.
        seconds: about how long each of the others trains at a time.
    """
    own, adam = list(words), [*words, *ONE_ADAM]
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    xla = on_gpu or not case.convolves
    spe = min(128, build(adam).steps_per_epoch)
    absent = missing()

    def loop(name: str, how: Callable[..., Train], most_steps: int | None = None, **options: Any) -> Loop:
        return Loop(name, adam, functools.partial(how, **options), seconds, most_steps)

    found: list[Contender] = [Tfrun("tfrun", own, "xla" if xla else "graph", epochs)]
    if case.groups:
        found.append(Tfrun("tfrun, one Adam", adam, "xla" if xla else "graph", epochs))
    fit, per_call = keras_loops.fit, {"steps_per_execution": spe}
    found += [loop(BASE, fit), loop(f"{BASE}, once more", fit)]
    if case.groups:
        found.append(Loop(f"{BASE}, MultiOptimizer", own, fit, seconds))
    found += [
        loop(f"fit() {spe} steps/call", fit, jit=False, **per_call),
        loop(f"fit() {spe} steps/call, jit", fit, jit=True, **per_call),
        loop(f"fit() {spe} steps/call, gathered", fit, jit=False, gathered=True, **per_call),
        loop(f"fit() {spe} steps/call, jit, gathered", fit, jit=True, gathered=True, **per_call),
        loop("eager loop", keras_loops.eager, EAGER_STEPS),
        loop("tf.function per step", keras_loops.per_step),
        loop("tf.range over tf.data", keras_loops.stream),
    ]
    if "Orbit" not in absent:
        from benchmarks import orbit_loop

        found.append(loop("Orbit", orbit_loop.controlled))
    if "PyTorch" not in absent:
        numbers = [1] if on_gpu else sorted({1, min(2, os.cpu_count() or 1)})
        names = ["PyTorch" if on_gpu else f"PyTorch, threads: {number}" for number in numbers]
        found += [Torch(name, adam, case, number, seconds) for name, number in zip(names, numbers, strict=True)]
    found.append(loop(f"{LIMIT}, {'XLA' if xla else 'graph'}", keras_loops.bare, xla=xla))
    return found
