"""Keeps the state of runs finite: an update that breaks it is taken back, and its step counts as one that failed.

    keep the state (a large one not before each block, but every now and then)
    train a block
    if a weight, or another part of the state, isn't finite any more:
        restore the state, train the blocks since then again, and the last one a step at a time
        at the step that breaks it: restore the state, and train the step without its update

The numbers of a step are checked in the program, before its update. An update with a finite gradient can still break a
weight (at a learning rate of 1e38), and so can a forward pass (the moving variance of batch normalization). To check
the whole state after each step would slow all runs down; after a block it takes no time that could be measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.engine.training import replicas, residency
from tfrun.engine.training.epoch_end import EpochEnd
from tfrun.engine.training.step import NO_STEP, Step
from tfrun.engine.training.vectorize import Alone, Lanes
from tfrun.errors import DivergedError

# (which runs, first step, number of steps) → the BlockResult of each run
Train = Callable[[Sequence[bool], int, int], list[Any]]
MAX_NAMES = 3  # in a message
COPIED_BYTES_PER_SECOND = 1.5e9  # about, while a state is kept
SHARE_OF_TIME = 0.02  # that keeping states may take


@dataclass
class Kept:
    """A state to go back to.

    Attributes:
        values: of the state's variables.
        first_step: the number of steps before it.
        time: when it was kept.
        blocks: (first step, number of steps) of those trained since.
    """

    values: list[tf.Tensor]
    first_step: int
    time: float
    blocks: list[tuple[int, int]] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The number of steps after the last of the blocks."""
        return sum(self.blocks[-1]) if self.blocks else self.first_step


class GuardedState:
    """What blocks change: of one run, or of several whose variables have a leading axis of lanes.

    Args:
        variables: everything that a block changes.
        names: the name of each of them that must stay finite; None for the others.
        num_lanes: None for a single run.

    Attributes:
        num_bytes: the memory of all of them.
    """

    def __init__(self, variables: Sequence[tf.Variable], names: Sequence[str | None], num_lanes: int | None = None):
        self._variables = variables
        watched = [(k, name) for k, name in enumerate(names) if name and variables[k].dtype.is_floating]
        self._watched = [variables[k] for k, _ in watched]
        self._names = np.array([name for _, name in watched])
        self._num_lanes = num_lanes
        self._ignored: set[str] = set()
        # one call of a graph is quicker than one for each variable
        self._read = tf.function(lambda: [variable.read_value() for variable in variables], autograph=False)
        self._flags = tf.function(self._finite, autograph=False)
        self.num_bytes = sum(v.shape.num_elements() * v.dtype.size for v in variables)
        self._fits = self.num_bytes <= residency.available_bytes()

    @classmethod
    def of(cls, step: Step, epoch_end: EpochEnd, step_count: keras.Variable, *, lanes: Alone | Lanes) -> GuardedState:
        """Returns the state of the run that a program trains, or of the runs that are trained together."""
        names = _names(step, epoch_end)
        if isinstance(lanes, Lanes):
            variables = [stacked for _, stacked in lanes.stacked]
            return cls(variables, [names.get(id(variable)) for variable, _ in lanes.stacked], lanes.count)
        parts = [
            (part, names.get(id(variable)))
            for variable in _changed(step, epoch_end, step_count)
            for part in replicas.components(step.strategy, variable)
        ]
        return cls([part for part, _ in parts], [name for _, name in parts])

    def keep(self) -> list[tf.Tensor] | None:
        """Returns the values, which later steps don't change; None if the memory hasn't room for them.

        They aren't copied. A variable that is assigned to gets memory of its own.
        """
        return self._read() if self._fits else None

    def restore(self, kept: list[tf.Tensor], lane: int) -> None:
        """Assigns the values of one of the runs."""
        for variable, value in zip(self._variables, kept, strict=True):
            if self._num_lanes is not None:
                value = tf.tensor_scatter_nd_update(variable, [[lane]], [value[lane]])
            variable.assign(value)

    def broken(self) -> list[list[str]]:
        """Returns which variables of each run aren't finite any more; the host waits for the device here."""
        finite = self._flags().numpy() if len(self._names) else np.ones((0, self._num_lanes or 1), bool)
        if finite.all():
            return [[]] * finite.shape[1]
        return [
            [name for name in dict.fromkeys(self._names[~lane].tolist()) if name not in self._ignored]
            for lane in finite.T
        ]

    def start(self) -> None:
        """Forgets an earlier run."""
        self._ignored = set()

    def ignore(self, names: Sequence[str]) -> None:
        """Accepts that these are not finite from the start on."""
        self._ignored |= set(names)

    def _finite(self) -> tf.Tensor:
        """Returns whether the watched variables are finite, (variables, lanes) bool."""
        first_axis = 0 if self._num_lanes is None else 1
        flags = [
            tf.reduce_all(tf.math.is_finite(variable), axis=list(range(first_axis, variable.shape.rank)))
            for variable in self._watched
        ]
        return tf.reshape(tf.stack(flags), [len(flags), self._num_lanes or 1])


@dataclass
class Guard:
    """Trains blocks and keeps the state finite.

    Attributes:
        state: what the blocks change.
        refused: the step that must make no update, NO_STEP for none; a scalar int64 variable that the program reads.
        join: makes one result of several.
        may_repeat: whether `train` can train earlier blocks again, so that a large state isn't kept before each block.
        clock: the seconds that decide how often.
    """

    state: GuardedState
    refused: keras.Variable
    join: Callable[[list[Any]], Any]
    may_repeat: bool = False
    clock: Callable[[], float] = time.perf_counter
    _kept: Kept | None = None

    def start(self) -> None:
        """Forgets an earlier run."""
        self._kept = None
        self.state.start()

    def train(self, train: Train, on: Sequence[bool], *, first_step: int, num_steps: int) -> list[Any]:
        """Trains a block of each run that is on, and returns the results.

        Raises:
            DivergedError: the state isn't finite, and the memory had no room to keep the one before.
        """
        kept = self._keep(first_step)
        results = train(on, first_step, num_steps)
        block = (first_step, num_steps)
        for lane, names in enumerate(self.state.broken()):
            if names and on[lane]:
                self._kept = None
                results[lane] = self._again(train, kept, block, lane=lane, lanes=len(on), names=names)
        if kept is not None:
            kept.blocks.append(block)
        if not all(result.finite for result, is_on in zip(results, on, strict=True) if is_on):
            self._kept = None  # the next block may begin elsewhere, with other learning rates
        return results

    def _keep(self, first_step: int) -> Kept | None:
        """Returns the state to go back to: that before the block, or one of a little earlier, if it is a large one."""
        seconds = self.state.num_bytes / COPIED_BYTES_PER_SECOND / SHARE_OF_TIME
        if (
            not self.may_repeat
            or self._kept is None
            or self._kept.end != first_step
            or self.clock() - self._kept.time >= seconds
        ):
            self._kept = None  # frees the memory
            values = self.state.keep()
            self._kept = None if values is None else Kept(values, first_step, self.clock())
        return self._kept

    def _again(
        self, train: Train, kept: Kept | None, block: tuple[int, int], *, lane: int, lanes: int, names: Sequence[str]
    ) -> Any:
        """Returns the result of a block that has broken the state of one run, trained again up to the step before."""
        first_step, num_steps = block
        if kept is None:
            raise DivergedError(
                f"{made_not_finite(names)} in the steps {first_step + 1} to {first_step + num_steps}. The memory has "
                "no room to keep the state before, so the newest checkpoint is the last good state",
                cause="update",
            )
        self.state.restore(kept.values, lane)
        self.state.ignore(self.state.broken()[lane])
        only = [k == lane for k in range(lanes)]
        for first, count in kept.blocks:
            train(only, first, count)
        return self.join(self._by_steps(train, only, lane=lane, steps=range(first_step, first_step + num_steps)))

    def _by_steps(self, train: Train, only: Sequence[bool], *, lane: int, steps: range) -> list[Any]:
        """Trains the steps of one run, each as a block of its own, until one of them ends the run."""
        results: list[Any] = []
        for step in steps:
            values = self.state.keep()
            result = train(only, step, 1)[lane]
            names = self.state.broken()[lane]
            if names and values is not None:
                self.state.restore(values, lane)
                self.refused.assign(step)
                result = replace(train(only, step, 1)[lane], cause=made_not_finite(names))
                self.refused.assign(NO_STEP)
            results.append(result)
            if not result.finite or result.stopped:
                break
        return results


def rates_not_finite(step: Step, rates: np.ndarray) -> str:
    """Returns which learning rate isn't finite, as a message, or an empty string.

    Args:
        step: has the optimizer groups.
        rates: of each active group, (num_groups,).
    """
    for group, rate in zip(step.active, rates, strict=True):
        if not np.isfinite(rate):
            schedule = f" of the schedule {group.schedule_name}" if group.schedule_name else ""
            return f"optimizer.groups.{group.name}: the learning rate{schedule} is {rate}"
    return ""


def made_not_finite(names: Sequence[str]) -> str:
    """Returns a message about the variables that an update makes infinite or NaN, or a weight if none is known."""
    listed = ", ".join(names[:MAX_NAMES]) or "a weight"
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"the update makes {listed}{more} infinite or NaN"


def _names(step: Step, epoch_end: EpochEnd) -> dict[int, str]:
    """Returns the names of the variables that must stay finite, by identity."""
    weights = [*epoch_end.best_weights, *(step.options.averages.variables if step.options.averages else [])]
    names = {id(variable): "the best or averaged weights" for variable in weights}
    names |= {id(variable): variable.path for variable in step.model.variables}
    for group in step.active:
        where = f"optimizer.groups.{group.name}"
        names |= {id(variable): f"{variable.path} ({where})" for variable in group.variables}
        names |= {id(variable): f"{variable.path} ({where})" for variable in group.optimizer.variables}
    return names


def _changed(step: Step, epoch_end: EpochEnd, step_count: keras.Variable) -> list[Any]:
    """Returns everything that a block changes."""
    options = step.options
    owners: list[Any] = [
        epoch_end.best,
        epoch_end.stopper,
        options.averages,
        options.loss_scale,
        options.skips,
        step.algorithm,
    ]
    owners += [*step.all_metrics, *(group.optimizer for group in step.active)]
    owners += [group.epoch_schedule for group in step.active]
    variables = [*step.model.variables, *epoch_end.best_weights, *epoch_end.val_variables, step_count]
    variables += [variable for owner in owners if owner is not None for variable in owner.variables]
    return list({id(variable): variable for variable in variables}.values())
