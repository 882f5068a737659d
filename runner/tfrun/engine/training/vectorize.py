"""Runs of one structure trained side by side: each variable has one axis more, with a lane for each run.

A step is traced once, over the variables of one run, and `tf.vectorized_map` makes it a step of all lanes: their small
matrix products become a large one, and the overhead of a step is paid once for all of them.

While the step is traced, Keras' stateless scope makes every variable read and write a lane's value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.engine import private


class Alone:
    """One run, without lanes."""

    name = ""

    def each(self, function: Callable[..., Any], on: Any, *args: Any) -> Any:
        """Returns what the function returns."""
        return function(*args)


ALONE = Alone()


class Lanes:
    """Several runs, a lane for each.

    Args:
        variables: all variables that a step or an epoch's end reads or changes.
        optimizers: the optimizers whose variables are among them.
        values: the variables' values, of each run.
    """

    def __init__(
        self,
        variables: Sequence[keras.Variable],
        *,
        optimizers: Sequence[Any],
        values: Sequence[Sequence[np.ndarray]],
    ):
        self.count = len(values)
        self.name = f", {self.count} together"
        self._variables = variables
        self._optimizers = optimizers
        self._stacked = [tf.Variable(np.stack(of_runs), trainable=False) for of_runs in zip(*values, strict=True)]
        self._copy = tf.function(self._copy_lane, autograph=False)

    @property
    def stacked(self) -> list[tuple[Any, tf.Variable]]:
        """Each variable of one run, and the variable with the values of all lanes."""
        return list(zip(self._variables, self._stacked, strict=True))

    def write(self, values: Sequence[Sequence[np.ndarray]]) -> None:
        """Assigns each run's values to its lane."""
        for stacked, of_runs in zip(self._stacked, zip(*values, strict=True), strict=True):
            stacked.assign(np.stack(of_runs))

    def load(self, lane: int) -> None:
        """Assigns a lane's values to the variables themselves."""
        self._copy(tf.constant(lane))

    def each(self, function: Callable[..., Any], on: tf.Tensor, *args: tf.Tensor) -> Any:
        """Calls a function for every lane; only the lanes that are on are changed.

        Args:
            function: reads and changes the variables as if there were one run.
            on: which lanes are on, (lanes,) bool.
            args: the function's arguments, (lanes, …).

        Returns:
            The function's results, each tensor (lanes, …).

        Raises:
            ValueError: the function uses an operation that can't be vectorized, or changes a variable that isn't one of
                the runs'.
        """
        changed: list[int] = []

        def of_lane(lane: tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]) -> tuple[Any, list[tf.Tensor]]:
            is_on, values, lane_args = lane
            mapping = zip(self._variables, values, strict=True)
            with (
                keras.StatelessScope(mapping, collect_losses=True) as scope,
                private.backend_neutral_optimizers(self._optimizers),
            ):
                before = [scope.get_current_value(variable) for variable in self._variables]
                result = function(*lane_args)
                after = [scope.get_current_value(variable) for variable in self._variables]
                if len(scope.state_mapping) > len(self._variables):
                    raise ValueError("it changes a variable that is not part of the run's state")
            changed[:] = [k for k, value in enumerate(after) if value is not before[k]]
            return result, [tf.where(is_on, after[k], before[k]) for k in changed]

        lanes = (on, [stacked.read_value() for stacked in self._stacked], list(args))
        # no AutoGraph, which TensorFlow would turn on here under XLA, and which takes seconds
        of_lane = tf.autograph.experimental.do_not_convert(of_lane)
        result, after = tf.vectorized_map(of_lane, lanes, fallback_to_while_loop=False)
        for k, value in zip(changed, after, strict=True):
            self._stacked[k].assign(value)
        return result

    def _copy_lane(self, lane: tf.Tensor) -> None:
        for variable, stacked in zip(self._variables, self._stacked, strict=True):
            variable.value.assign(stacked[lane])


def cond(condition: tf.Tensor, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """A `tf.cond` that also works inside a lane.

    In a lane both functions are called, and the condition selects their results and the values of the variables.
    """
    scope = private.open_stateless_scope()
    if scope is None:
        return tf.cond(condition, then, otherwise)
    before = dict(scope.state_mapping)
    results, mappings = [], []
    for function in (then, otherwise):
        scope.state_mapping = dict(before)
        results.append(function())
        mappings.append(scope.state_mapping)
    first, second = mappings
    scope.state_mapping = {
        key: value if value is second[key] else tf.where(condition, value, second[key]) for key, value in first.items()
    }
    return tf.nest.map_structure(lambda a, b: tf.where(condition, a, b), *results)
