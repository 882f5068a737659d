"""Finds the variables that a step's update would make infinite or NaN, for the message about a step that was refused.

A step with tables of ids checks its own update, and takes it back as a whole. So the state is that from before the
step, and its update can be computed once more, without making it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from tfrun.engine import private
from tfrun.engine.training.groups import Group
from tfrun.engine.training.rows import Tracing
from tfrun.engine.training.step import Step


def broken_by_update(step: Step, data: Any, rows: tf.Tensor, *, step_number: int) -> list[str]:
    """Returns the names of the variables that the update of a step would make infinite or NaN; changes nothing.

    With several replicas it returns none, since they would have to compute the step together.

    Args:
        step: the training step; its state is that from before the step.
        data: examples, (inputs, targets, weights).
        rows: the batch's row numbers, (batch_size,) int32.
        step_number: the number of steps done before this one.
    """
    if step.strategy.num_replicas_in_sync > 1:
        return []
    number = tf.constant(step_number, tf.int64)
    computed = step.compute(data, rows, number, tracing=Tracing(stage=step.stages.at(step_number)))
    names = [
        variable.path
        for variable, value in zip(step.changed_by_forward, computed.before, strict=True)
        if isinstance(variable, keras.Variable) and _is_broken(tf.convert_to_tensor(variable), value)
    ]
    step.undo_forward(computed)
    rates = tf.stack([group.learning_rate(number) for group in step.active])
    updates = dict(zip(map(id, step.tables), step.tables.propose(computed.by_group, rates), strict=True))
    for k, group in enumerate(step.active):
        if (is_updated := group.updates(number)) is not None and not is_updated:
            continue
        where = f"optimizer.groups.{group.name}"
        broken = [table.variable for table in step.tables if table.group == k and not updates[id(table)].finite]
        gradients, variables = step.tables.whole(k, computed.by_group[k])
        if variables:
            broken += _broken(group, gradients, variables, rate=rates[k])
        names += [f"{variable.path} ({where})" for variable in broken]
    return names


def _broken(
    group: Group, gradients: list[Any], variables: list[keras.Variable], *, rate: tf.Tensor
) -> Iterator[keras.Variable]:
    """Yields the variables, of the model and of the optimizer, that an update of these would break."""
    optimizer = group.optimizer
    changed = [*variables, *(slot for slot in optimizer.variables if slot is not optimizer.learning_rate)]
    known = [(optimizer.learning_rate, tf.cast(rate, optimizer.learning_rate.dtype))]
    with keras.StatelessScope(known) as scope, private.backend_neutral_optimizers([optimizer]):
        optimizer.apply(gradients, variables)
        values = [scope.get_current_value(variable) for variable in changed]
    for variable, value in zip(changed, values, strict=True):
        if value is not None and _is_broken(value, tf.convert_to_tensor(variable)):
            yield variable


def _is_broken(value: tf.Tensor, before: tf.Tensor) -> bool:
    """Returns whether a number isn't finite that was before; the host waits for the device here."""
    if not value.dtype.is_floating:
        return False
    return bool(tf.reduce_any(tf.math.is_finite(before) & ~tf.math.is_finite(value)))
