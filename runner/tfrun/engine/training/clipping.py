"""Norms of gradients, and clipping by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfrun.engine.training.groups import Group
from tfrun.engine.training.rows import RowGradient, numbers

MAX_SEQUENTIAL_SUM = 2048  # numbers that are added one after the other


def clip_groups(
    groups: Sequence[Group], gradients: Sequence[Any], *, sums_by_halves: bool
) -> tuple[list[list[Any]], list[tf.Tensor]]:
    """Returns the clipped gradients of each group, and their global norms before that.

    Args:
        groups: the active groups.
        gradients: of the variables of all groups, one group after the other.
        sums_by_halves: see `sum_of_squares`.
    """
    by_group: list[list[Any]] = []
    norms = []
    start = 0
    for group in groups:
        of_group = gradients[start : start + len(group.variables)]
        start += len(group.variables)
        clipped, norm = clip(group, of_group, sums_by_halves=sums_by_halves)
        by_group.append(clipped)
        norms.append(norm)
    return by_group, norms


def clip(group: Group, gradients: Sequence[Any], *, sums_by_halves: bool) -> tuple[list[Any], tf.Tensor]:
    """Returns a group's gradients, clipped, and their global norm before that.

    Args:
        group: has the norm to clip to, if any.
        gradients: of its variables, tensors or `RowGradient`s.
        sums_by_halves: see `sum_of_squares`.
    """
    values = [numbers(gradient) for gradient in gradients]
    norm = tf.sqrt(tf.add_n([sum_of_squares(value, by_halves=sums_by_halves) for value in values]))
    if group.clip_norm is None:
        return list(gradients), norm
    values, _ = tf.clip_by_global_norm(values, group.clip_norm, use_norm=norm)
    clipped = [
        gradient._replace(values=value) if isinstance(gradient, RowGradient) else value
        for gradient, value in zip(gradients, values, strict=True)
    ]
    return clipped, norm


def sum_of_squares(gradient: tf.Tensor, *, by_halves: bool) -> tf.Tensor:
    """Returns the sum of the squares of a tensor, a scalar.

    In a loop of XLA on a CPU a sum is one addition after the other, which took a third of a step of a
    784-300-100-10 net. Halves that are added to each other are many additions at a time.
    """
    if not by_halves:
        return 2.0 * tf.nn.l2_loss(gradient)
    squares = tf.square(tf.reshape(gradient, [-1]))
    rest = tf.zeros([], gradient.dtype)
    size = squares.shape[0]
    while size > MAX_SEQUENTIAL_SUM:
        if size % 2:
            rest += squares[size - 1]
        size //= 2
        squares = squares[:size] + squares[size : 2 * size]
    return tf.reduce_sum(squares) + rest
