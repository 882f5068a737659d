"""Runs of one structure side by side: each variable has an axis more, with a lane for each run.

A step is traced once, over the variables of one run, and `tf.vectorized_map` makes it a step of all lanes: their small
matrix products become a large one, and what a step costs beside its arithmetic is paid once for all of them.

While it is traced, Keras' stateless scope has every variable give and take a lane's value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.engine import private


class Alone:
    """One run, and no lanes."""

    name = ""

    def each(self, function: Callable[..., Any], on: Any, *args: Any) -> Any:
        """Returns what the function returns."""
        return function(*args)


class Lanes:
    """Several runs.

    Args:
        variables: all that a step or an epoch's end reads or changes.
        optimizers: whose variables are among them.
        values: of each run, in the order of the variables.
    """

    def __init__(
        self,
        variables: Sequence[keras.Variable],
        optimizers: Sequence[Any],
        values: Sequence[Sequence[np.ndarray]],
    ):
        self.count, self.name = len(values), f", {len(values)} together"
        self._variables, self._optimizers = variables, optimizers
        self._stacked = [tf.Variable(np.stack(own), trainable=False) for own in zip(*values, strict=True)]
        self._copy = tf.function(self._copy_lane, autograph=False)

    def write(self, values: Sequence[Sequence[np.ndarray]]) -> None:
        """Gives each lane a run's values."""
        for stacked, own in zip(self._stacked, zip(*values, strict=True), strict=True):
            stacked.assign(np.stack(own))

    def show(self, lane: int) -> None:
        """Gives the variables themselves a lane's values."""
        self._copy(tf.constant(lane))

    def each(self, function: Callable[..., Any], on: tf.Tensor, *args: tf.Tensor) -> Any:
        """Calls a function for every lane; only those that are on are changed by it.

        Args:
            function: reads and changes the variables as if there were one run.
            on: (lanes,) bool.
            args: its arguments, (lanes, …).

        Returns:
            What it returns, each tensor (lanes, …).

        Raises:
            ValueError: it uses an operation that can't be vectorized, or changes a variable that is not among those.
        """
        changed: list[int] = []

        def of_one(lane: tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]) -> tuple[Any, list[tf.Tensor]]:
            is_on, values, own_args = lane
            mapping = zip(self._variables, values, strict=True)
            with (
                keras.StatelessScope(mapping, collect_losses=True) as scope,
                private.backend_neutral_optimizers(self._optimizers),
            ):
                before = [scope.get_current_value(variable) for variable in self._variables]
                result = function(*own_args)
                after = [scope.get_current_value(variable) for variable in self._variables]
                if len(scope.state_mapping) > len(self._variables):
                    raise ValueError("it changes a variable that is not part of the run's state")
            changed[:] = [k for k, value in enumerate(after) if value is not before[k]]
            return result, [tf.where(is_on, after[k], before[k]) for k in changed]

        lanes = (on, [own.read_value() for own in self._stacked], list(args))
        # no AutoGraph, which TensorFlow would turn on here under XLA, and which takes seconds
        of_one = tf.autograph.experimental.do_not_convert(of_one)
        result, after = tf.vectorized_map(of_one, lanes, fallback_to_while_loop=False)
        for k, value in zip(changed, after, strict=True):
            self._stacked[k].assign(value)
        return result

    def _copy_lane(self, lane: tf.Tensor) -> None:
        for variable, stacked in zip(self._variables, self._stacked, strict=True):
            variable.value.assign(stacked[lane])


def either(condition: tf.Tensor, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """Returns what one of two functions returns, and leaves the variables as it left them.

    Alone it is a `tf.cond`. In a lane both are called, and every variable gets the value that one of them gave it.
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
