"""Optimizer groups: every trainable variable belongs to exactly one, and `assign_groups` proves it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import keras
import tensorflow as tf

from tfrun.engine.training.hyperparameters import Hyperparameter
from tfrun.errors import ConfigError
from tfrun.protocols import ScheduleOffer


@dataclass
class Group:
    """An optimizer group: some variables, the optimizer that updates them, and when it does.

    Attributes:
        name: the group's key in `optimizer.groups`.
        variables: its trainable variables.
        optimizer: their Keras optimizer, built; None if the group is frozen.
        schedule: step → factor on the learning rate, or None for a constant rate.
        clip_norm: the largest global norm of the group's gradients, or None.
        every: updates the variables at every n-th step.
        base_learning_rate: the rate before the schedule; a variable, so that another rate needs no new program.
        first_step, end_step: the group's stage: it updates from `first_step` on, counted from 0, and before `end_step`.
        epoch_schedule: what the schedule offers, if it uses each epoch's values, or None.
        schedule_name: the schedule's name in the config, or None.
        slots: the optimizer's variables that belong to each of the group's, by the identity of the latter.
        match: the pattern of its variables' paths.
        statistics: how its layers run while it isn't trained, `auto`, `frozen` or `moving`; see `Stages`.
        factors: by how much the updates of some of its variables are smaller, by their identity.
    """

    name: str
    variables: list[keras.Variable]
    _: KW_ONLY
    optimizer: Any = None
    schedule: Callable[[tf.Tensor], tf.Tensor] | None = None
    clip_norm: Any = None
    every: int = 1
    base_learning_rate: Any = field(default=None, repr=False)
    first_step: int = 0
    end_step: int | None = None
    epoch_schedule: ScheduleOffer | None = None
    schedule_name: str | None = None
    slots: Mapping[int, list[keras.Variable]] = field(default_factory=dict, repr=False)
    match: str = ".*"
    statistics: str = "auto"
    factors: Mapping[int, float] = field(default_factory=dict, repr=False)

    def learning_rate(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate at a step, a scalar float32."""
        rate = tf.cast(self.base_learning_rate, tf.float32)
        if self.schedule is not None:
            rate = rate * tf.cast(self.schedule(step), tf.float32)
        return tf.where(self._is_in_stage(step), rate, 0.0) if self.has_stage else rate

    @property
    def has_stage(self) -> bool:
        """Whether there are steps outside the group's stage."""
        return self.first_step > 0 or self.end_step is not None

    def is_trained_at(self, step: int) -> bool:
        """Returns whether a step, counted from 0, is in the stage of the group, which isn't frozen."""
        is_over = self.end_step is not None and step >= self.end_step
        return self.optimizer is not None and step >= self.first_step and not is_over

    def updates(self, step: tf.Tensor) -> tf.Tensor | None:
        """Returns whether the group updates at a step, a scalar bool; None if it updates at every step."""
        if self.every == 1 and not self.has_stage:
            return None
        return ((step - self.first_step + 1) % self.every == 0) & self._is_in_stage(step)

    def _is_in_stage(self, step: tf.Tensor) -> tf.Tensor:
        end_step = tf.int64.max if self.end_step is None else self.end_step
        return (step >= self.first_step) & (step < end_step)


def assign_groups(
    patterns: Mapping[str, str], variables: Sequence[keras.Variable], *, optional: Collection[str] = ()
) -> dict[str, list[keras.Variable]]:
    """Assigns every variable to a group, and returns each group's variables in the model's order.

    Args:
        patterns: group name → regular expression, searched in `variable.path`.
        variables: the model's trainable variables.
        optional: groups that are left out if they match nothing and the others cover every variable.

    Raises:
        ConfigError: a pattern matches nothing, or a variable is matched twice or not at all.
    """
    groups: dict[str, list[keras.Variable]] = {name: [] for name in patterns}
    problems: list[str] = []
    for variable in variables:
        owners = [name for name, pattern in patterns.items() if re.search(pattern, variable.path)]
        if len(owners) != 1:
            how = f"matched by {' and '.join(owners)}" if owners else "matched by no group"
            problems.append(f"{variable.path} is {how}")
        for name in owners[:1]:
            groups[name].append(variable)
    every_variable_has_one = not problems
    for name, pattern in patterns.items():
        if any(re.search(pattern, variable.path) for variable in variables):
            continue
        if every_variable_has_one and name in optional:
            del groups[name]
        else:
            problems.insert(0, f"optimizer.groups.{name}.match: {pattern!r} matches no variable")
    if problems:
        paths = ", ".join(variable.path for variable in variables)
        raise ConfigError(
            "optimizer.groups: every trainable variable belongs to exactly one group. "
            f"Received: {'; '.join(problems)}. Known variables: {paths}"
        )
    return groups


def scale_learning_rates(groups: Sequence[Group], factor: float) -> None:
    """Multiplies the learning rates of active groups, before their schedules, by a factor."""
    for group in groups:
        group.base_learning_rate.assign(group.base_learning_rate * factor)


def describe_groups(groups: Sequence[Group], tables: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Returns the groups as `run.json` and `tfrun check` show them.

    Args:
        groups: the groups.
        tables: how those of their variables are updated that are tables of ids, by their paths.
    """
    how = tables or {}
    return [
        {
            "name": group.name,
            "optimizer": group.optimizer.name if group.optimizer else "frozen",
            "learning_rate": None if group.optimizer is None else float(f"{group.base_learning_rate.numpy():.7g}"),
            "every": group.every,
            "statistics": group.statistics,
            "clip_norm": group.clip_norm.value if isinstance(group.clip_norm, Hyperparameter) else group.clip_norm,
            "parameters": sum(int(variable.value.shape.num_elements()) for variable in group.variables),
            "variables": [variable.path for variable in group.variables],
            "tables": {variable.path: how[variable.path] for variable in group.variables if variable.path in how},
        }
        for group in groups
    ]
