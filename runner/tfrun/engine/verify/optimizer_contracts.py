"""The contracts of optimizers and of the schedules of their learning rates."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.engine.building.autograph import convertible
from tfrun.engine.building.components import INPUT_DTYPES
from tfrun.engine.training.hyperparameters import Hyperparameters
from tfrun.engine.verify.findings import CLOSE, Finding, Make, check_config, compare
from tfrun.protocols import ScheduleOffer

OPTIMIZER_STEPS = 20
FEW_STEPS = 3
RATE = 0.0123  # no optimizer's default
START = ((3.0, -2.0), (1.0, 0.5))  # the weights to begin with

SCHEDULE_STEPS = 1000  # the length of a run whose steps are all looked at
LONG_SCHEDULE_STEPS = 1_000_000  # the length of a run of which SAMPLED_STEPS are looked at
SAMPLED_STEPS = 2000
COMPILED_STEPS = 50  # these are compared with those of XLA


class _Descent:
    """An optimizer that minimizes ‖w‖².

    Attributes:
        optimizer: built.
        weights: w, (2, 2).
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer):
        self.optimizer = optimizer
        self.weights = keras.Variable(START, name="w")
        optimizer.build([self.weights])

    @property
    def variables(self) -> list[keras.Variable]:
        """What a checkpoint has of it."""
        return [self.weights, *self.optimizer.variables]

    def step(self) -> tf.Tensor:
        """Takes a step and returns ‖w‖² before it."""
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(tf.square(self.weights.value))
        self.optimizer.apply([tape.gradient(total, self.weights.value)], [self.weights])
        return total

    def after(self, num_steps: int) -> np.ndarray:
        """Returns the weights after further steps."""
        for _ in range(num_steps):
            self.step()
        return self.weights.numpy()


def check_optimizer(make: Make) -> Iterator[Finding]:
    """Checks an optimizer by minimizing ‖w‖² with it."""

    def train(compile: Callable[[Any], Any]) -> tuple[list[float], np.ndarray]:
        """Returns the losses of some steps and the weights after them."""
        descent = _Descent(make())
        run = compile(descent.step)
        return [float(run()) for _ in range(OPTIMIZER_STEPS)], descent.weights.numpy()

    losses, weights = train(lambda step: step)
    numbers = f"{losses[0]:.6g} to {losses[-1]:.6g}"
    yield Finding(f"{OPTIMIZER_STEPS} steps reduce ‖w‖²", losses[-1] < losses[0], numbers)
    _, weights_of_xla = train(lambda step: tf.function(step, jit_compile=True, autograph=False))
    promise = "compiled by XLA, it takes the same steps as in Python"
    yield compare(promise, weights_of_xla, expected=weights, tolerance=CLOSE)
    yield from _check_learning_rate(make)
    yield _check_state(make)
    yield from check_config(make(), lambda optimizer: _Descent(optimizer).after(FEW_STEPS))


def _check_learning_rate(make: Make) -> Iterator[Finding]:
    """Checks that the learning rate is the one of the config, can be set, and matters."""
    promise = "its learning rate is the one that it is made with"
    yield compare(promise, make(learning_rate=RATE).learning_rate, expected=RATE, tolerance=RATE * CLOSE)
    optimizer = make()
    optimizer.learning_rate = RATE
    promise = "its learning rate can be set"
    yield compare(promise, optimizer.learning_rate, expected=RATE, tolerance=RATE * CLOSE)

    def after_a_step(factor: float) -> np.ndarray:
        descent = _Descent(make())
        descent.optimizer.learning_rate = factor * float(descent.optimizer.learning_rate)
        return descent.after(1)

    is_used = not np.array_equal(after_a_step(1.0), after_a_step(2.0))
    yield Finding("with another learning rate it takes another step", is_used)


def _check_state(make: Make) -> Finding:
    """Checks that a new optimizer with the same variables takes the same step, as in a run that is resumed."""
    descent, resumed = _Descent(make()), _Descent(make())
    descent.after(FEW_STEPS)
    for variable, saved in zip(resumed.variables, descent.variables, strict=True):
        variable.assign(saved)
    promise = "its variables hold all its state: restored, it takes the same step"
    return compare(promise, resumed.after(1), expected=descent.after(1))


def check_schedule(make: Make) -> Iterator[Finding]:
    """Checks a schedule at every step of short runs, and at many steps of a long one."""
    schedule = make()
    value = _factor_of(schedule, total_steps=SCHEDULE_STEPS)(tf.constant(0, tf.int64))
    if value is None or tf.convert_to_tensor(value).shape != () or not tf.convert_to_tensor(value).dtype.is_floating:
        numbers = "None" if value is None else f"{tf.convert_to_tensor(value)!r}"
        yield Finding("returns a factor, a scalar", False, numbers)
        return
    wrong = []
    for total_steps in (1, 2, SCHEDULE_STEPS, LONG_SCHEDULE_STEPS):
        steps = _steps(total_steps)
        factors = _compiled(schedule, total_steps=total_steps)(steps)
        is_wrong = ~(np.isfinite(factors) & (factors >= 0))
        wrong += [f"{factors[k]} at step {steps[k]} of {total_steps}" for k in np.flatnonzero(is_wrong)[:1]]
    yield Finding("returns a finite factor, at least 0, at every step", not wrong, ", ".join(wrong))
    if wrong:
        return
    steps = np.arange(COMPILED_STEPS)
    graph, xla = (_compiled(schedule, total_steps=COMPILED_STEPS, jit_compile=use_xla) for use_xla in (False, True))
    by_graph = graph(steps)
    yield compare("compiled by XLA, it returns the same", xla(steps), expected=by_graph, tolerance=CLOSE)
    if not ScheduleOffer.of(schedule).variables:
        # the same graph, since the random numbers of a new one begin with the same seed
        yield compare("at the same step it always returns the same", graph(steps), expected=by_graph, tolerance=0.0)


def _steps(total_steps: int) -> np.ndarray:
    """Returns every step of a short run, or many of a long one; some after its end too, as it may be trained longer."""
    end = 2 * total_steps + 1
    if end <= 2 * SCHEDULE_STEPS + 1:
        return np.arange(end)
    near_0 = np.geomspace(1, total_steps, SAMPLED_STEPS // 2).astype("int64")  # and as near to the end
    return np.unique([0, *near_0, *(total_steps - near_0), *np.linspace(0, end, SAMPLED_STEPS).astype("int64")])


def _compiled(schedule: Any, *, total_steps: int, jit_compile: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that computes a schedule's factors at some steps, in a graph as in training."""
    factor = _factor_of(schedule, total_steps=total_steps)

    def compute(steps: tf.Tensor) -> tf.Tensor:
        signature = tf.TensorSpec([], tf.float32)
        return tf.map_fn(lambda step: tf.cast(factor(step), tf.float32), steps, fn_output_signature=signature)

    function = tf.function(compute, autograph=False, jit_compile=jit_compile)
    return lambda steps: function(tf.constant(steps, tf.int64)).numpy()


def _factor_of(schedule: Any, *, total_steps: int) -> Callable[[tf.Tensor], Any]:
    """Returns a schedule as a function of the step, its other arguments filled in as in a run."""
    length = {"total_steps": float(total_steps)}
    offered = Hyperparameters().wrap("schedule", length, dtype=INPUT_DTYPES["schedule"])
    offered["steps_per_epoch"] = max(1, total_steps // 10)
    accepted = inspect.signature(schedule).parameters
    filled_in = {name: value for name, value in offered.items() if name in accepted}
    return convertible(functools.partial(schedule, **filled_in) if filled_in else schedule)
