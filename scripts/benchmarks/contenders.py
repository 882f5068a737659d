"""The contenders behind one interface, and the list of them.

Contenders that are timed share one process. A contender can be pickled until it is started, so that
a fresh process can measure its first step and its memory.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from benchmarks import keras_loops
from benchmarks.cases import ONE_ADAM, Case
from benchmarks.machine import peak_bytes
from benchmarks.setup import Reference, Setup, Train, build, select, val_loss
from benchmarks.tfrun_run import Run, in_fresh_process, run_tfrun
from benchmarks.torch_task import Task
from benchmarks.torch_worker import Worker

BASE = "fit() default"
LIMIT = "bare loop"
EAGER_STEPS = 30  # of a call: a whole epoch would take as long as all other contenders together
OPTIONAL = {  # the modules that a contender needs, and how to install them
    "Orbit": (("orbit", "tf_keras"), "pip install --no-deps tf-models-official tf-keras"),
    "PyTorch": (("torch",), "pip install torch"),
    "JAX": (("jax", "optax"), "pip install jax optax"),
}


@dataclass(frozen=True)
class Usage:
    """The time and memory that a contender needs in a fresh process.

    Attributes:
        first_step_seconds: from the start of building to the end of the first step (of the first call, if one call
            runs several steps), without imports.
        peak_bytes: the peak memory of the process, with imports.
        gpu_peak_bytes: the peak memory on the GPU; None without one.
    """

    first_step_seconds: float
    peak_bytes: int
    gpu_peak_bytes: int | None = None


class Contender(Protocol):
    """Something that trains; `overrides` select the model and the rows."""

    name: str
    overrides: Sequence[str]

    def difference(self, expected: Reference) -> float:
        """Trains the reference's epoch from the initial weights; returns the relative difference of the losses."""

    def start(self, *, quick: bool) -> None:
        """Builds and warms up; `quick` leaves out what only steadies the numbers."""

    def rates(self) -> dict[str, float]:
        """Trains for a while; returns steps per second, by name."""

    def usage(self) -> Usage:
        """Returns the time and memory that it needs; call it in a process that has done nothing else."""

    def close(self) -> None:
        """Frees its resources."""


@dataclass
class Tfrun:
    """The whole program, with everything that it does by default and a checkpoint on the way.

    Each run has a fresh process, as a command has: TensorFlow fixes its threads, which follow from the model, when it
    starts.

    Attributes:
        name: of its rate in the table.
        overrides: of the model and the rows.
        mode: the compile mode of the check: its single epoch is too short for `auto` to pick the same as for a run.
        epochs: of a run.
        is_quick: whether runs use that mode too, instead of compiling several to choose one.
    """

    name: str
    overrides: Sequence[str]
    _: KW_ONLY
    mode: str
    epochs: int
    is_quick: bool

    def difference(self, expected: Reference) -> float:
        overrides = [*expected.overrides, f"trainer.compile={self.mode}", "trainer.max_epochs=1"]
        line = in_fresh_process(run_tfrun, overrides).last_line
        return max(abs(line["train/loss"] / expected.train_loss - 1), abs(line["val/loss"] / expected.val_loss - 1))

    def start(self, *, quick: bool) -> None:
        if not quick:  # so that `auto` knows the mode, and XLA the program
            in_fresh_process(run_tfrun, self._words())

    def rates(self) -> dict[str, float]:
        run: Run = in_fresh_process(run_tfrun, self._words())
        if run.num_checkpoints < 2:
            raise SystemExit("the run saved no checkpoint before its last one, so that none is in the timing")
        return {self.name: run.rate, f"{self.name}: within its blocks": run.rate_in_blocks}

    def usage(self) -> Usage:
        return Usage(run_tfrun(self._words()).first_step_seconds, *memory())

    def close(self) -> None:
        pass

    def _words(self) -> list[str]:
        length = [f"trainer.max_epochs={self.epochs}", f"checkpoint.every_epochs={self.epochs // 2}"]
        mode = [f"trainer.compile={self.mode}"] if self.is_quick else []
        return [*self.overrides, *length, *mode]


@dataclass
class Loop:
    """A loop over the Keras model in this process.

    Attributes:
        name: of its rate in the table.
        overrides: of the model and the rows.
        make_loop: turns a setup into a loop.
        seconds: about how long a round trains.
        max_steps: of one call, if an epoch would take too long.
    """

    name: str
    overrides: Sequence[str]
    _: KW_ONLY
    make_loop: Callable[[Setup], Train]
    seconds: float
    max_steps: int | None = None
    _checked: tuple[Setup, Train] | None = field(default=None, init=False, repr=False)
    _call: Callable[[], float] | None = field(default=None, init=False, repr=False)

    def difference(self, expected: Reference) -> float:
        setup = build(expected.overrides)
        train = self.make_loop(setup)
        train(setup.first_epoch, setup.val, epochs=1, shuffle=False)
        self._checked = setup, train
        return abs(val_loss(setup, expected.loss) / expected.val_loss - 1)

    def start(self, *, quick: bool) -> None:
        if quick and self._checked:  # on the few rows of the check, so that nothing is compiled twice
            setup, train = self._checked
        else:
            setup = build(self.overrides)
            train = self.make_loop(setup)
        self._checked = None
        steps = min(setup.steps_per_epoch, self.max_steps or setup.steps_per_epoch)
        rows = select(setup.train, np.arange(steps * setup.batch_size)) if self.max_steps else setup.train

        def rate(epochs: int) -> float:
            started = time.perf_counter()
            train(rows, setup.val, epochs=epochs, shuffle=True)
            return epochs * steps / (time.perf_counter() - started)

        rate(1)  # traces and compiles
        self._call = functools.partial(rate, max(1, round(self.seconds * rate(1) / steps)))

    def rates(self) -> dict[str, float]:
        assert self._call is not None
        return {self.name: self._call()}

    def usage(self) -> Usage:
        started = time.perf_counter()
        setup = build(self.overrides)
        train = self.make_loop(setup)
        train(select(setup.train, np.arange(setup.batch_size)), None, epochs=1, shuffle=False)
        seconds = time.perf_counter() - started
        train(setup.train, setup.val, epochs=1, shuffle=True)
        return Usage(seconds, *memory())

    def close(self) -> None:
        self._call = self._checked = None


@dataclass
class OtherLibrary:
    """PyTorch's plain loop or JAX' bare one in its own process, from the Keras model's initial weights.

    Attributes:
        name: of its rate in the table.
        overrides: of the model and the rows.
        case: the model and the loss.
        num_threads: PyTorch's threads on a CPU.
        seconds: about how long a round trains.
        library: `torch` or `jax`.
    """

    name: str
    overrides: Sequence[str]
    _: KW_ONLY
    case: Case
    num_threads: int
    seconds: float
    library: str = "torch"
    _worker: Worker | None = field(default=None, init=False, repr=False)

    def difference(self, expected: Reference) -> float:
        worker = Worker.start(self._task(expected.overrides))
        try:
            return abs(worker.ask("val_loss_after_first_epoch") / expected.val_loss - 1)
        finally:
            worker.close()

    def start(self, *, quick: bool) -> None:
        task = self._task(self.overrides)
        self._worker = Worker.start(task)
        self._steps = len(task.train[1]) // task.batch_size
        self._worker.ask("seconds", 1)
        self._epochs = max(1, round(self.seconds / self._worker.ask("seconds", 1)))

    def rates(self) -> dict[str, float]:
        assert self._worker is not None
        return {self.name: self._epochs * self._steps / self._worker.ask("seconds", self._epochs)}

    def usage(self) -> Usage:
        worker = Worker.start(self._task(self.overrides))
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

    def _task(self, overrides: Sequence[str]) -> Task:
        setup = build(overrides)
        (optimizer, _), *others = setup.optimizers
        assert not others, "the loops of other libraries have one Adam"
        config = optimizer.get_config()

        def arrays(data: Any) -> tuple[np.ndarray, np.ndarray]:
            (inputs,) = tf.nest.flatten(data[0])
            return inputs, data[1]

        return Task(
            model=self.case.model,
            loss=self.case.loss,
            weights={variable.path: variable.numpy() for variable in setup.model.trainable_variables},
            adam={key: float(config[key]) for key in ("learning_rate", "beta_1", "beta_2", "epsilon")},
            train=arrays(setup.train),
            val=arrays(setup.val),
            first_epoch=arrays(setup.first_epoch),
            batch_size=setup.batch_size,
            num_threads=self.num_threads,
            library=self.library,
        )


def memory() -> tuple[int, int | None]:
    """Returns the peak memory in bytes: the process', and the GPU's, if any."""
    on_gpu = tf.config.list_logical_devices("GPU")
    return peak_bytes(), tf.config.experimental.get_memory_info("GPU:0")["peak"] if on_gpu else None


def missing() -> dict[str, str]:
    """Returns how to install the optional contenders that aren't installed, by name."""
    return {
        name: how
        for name, (modules, how) in OPTIONAL.items()
        if not all(importlib.util.find_spec(module) for module in modules)
    }


def of_other_libraries(case: Case, overrides: Sequence[str], *, seconds: float, on_gpu: bool) -> list[Contender]:
    """Returns the contenders of the libraries that are installed; PyTorch's on a CPU for several numbers of threads."""
    absent = missing()
    contenders: list[Contender] = []
    if "Orbit" not in absent:
        from benchmarks import orbit_loop

        contenders.append(Loop("Orbit", overrides, make_loop=orbit_loop.controlled, seconds=seconds))
    if "PyTorch" not in absent:
        for num_threads in [1] if on_gpu else sorted({1, min(2, os.cpu_count() or 1)}):
            name = "PyTorch" if on_gpu else f"PyTorch, threads: {num_threads}"
            contenders.append(OtherLibrary(name, overrides, case=case, num_threads=num_threads, seconds=seconds))
    if "JAX" not in absent:
        contenders.append(OtherLibrary("JAX", overrides, case=case, num_threads=0, seconds=seconds, library="jax"))
    return contenders


def all_contenders(
    case: Case, overrides: Sequence[str], *, epochs: int, seconds: float, quick: bool = False
) -> list[Contender]:
    """Returns the contenders in the order of the table.

    Args:
        case: the model and the data set.
        overrides: the case's, with those of the data set.
        epochs: of tfrun's run.
        seconds: about how long a round of each other contender trains.
        quick: whether tfrun compiles one mode only, the one that compiles fastest.
    """
    own_optimizers = list(overrides)
    one_adam = [*overrides, *ONE_ADAM]
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    xla = on_gpu or not case.convolves
    mode = "xla" if xla and not quick else "graph"
    steps_per_call = min(128, build(one_adam).steps_per_epoch)

    def loop(name: str, function: Callable[..., Train], max_steps: int | None = None, **options: Any) -> Loop:
        make_loop = functools.partial(function, **options)
        return Loop(name, one_adam, make_loop=make_loop, seconds=seconds, max_steps=max_steps)

    def fit(name: str, **options: Any) -> Loop:
        full_name = f"fit() {steps_per_call} steps/call{name}"
        return loop(full_name, keras_loops.fit, steps_per_execution=steps_per_call, **options)

    contenders: list[Contender] = [Tfrun("tfrun", own_optimizers, mode=mode, epochs=epochs, is_quick=quick)]
    if case.groups:
        contenders.append(Tfrun("tfrun, one Adam", one_adam, mode=mode, epochs=epochs, is_quick=quick))
    contenders += [loop(BASE, keras_loops.fit), loop(f"{BASE}, once more", keras_loops.fit)]
    if case.groups:
        name = f"{BASE}, MultiOptimizer"
        contenders.append(Loop(name, own_optimizers, make_loop=keras_loops.fit, seconds=seconds))
    contenders += [
        fit("", jit=False),
        fit(", jit", jit=True),
        fit(", gathered", jit=False, gathered=True),
        fit(", jit, gathered", jit=True, gathered=True),
        loop("eager loop", keras_loops.eager, EAGER_STEPS),
        loop("tf.function per step", keras_loops.per_step),
        loop("tf.range over tf.data", keras_loops.stream),
    ]
    contenders += of_other_libraries(case, one_adam, seconds=seconds, on_gpu=on_gpu)
    contenders.append(loop(f"{LIMIT}, {'XLA' if xla else 'graph'}", keras_loops.bare, xla=xla))
    return contenders
