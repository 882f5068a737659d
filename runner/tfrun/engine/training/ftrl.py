"""FTRL with a learning rate that changes.

FTRL works each weight w out anew from two sums, z and n, and the rate α:

    w = -(z - λ₁·sign(z)) / ((√n + β) / α + 2·λ₂)    if |z| > λ₁, else 0

Keras' z is right as long as α is constant. When α changes, the same z and n give weights that are larger or smaller by
about the same factor: a schedule that ends at 0 would take all weights there, without a gradient. In the algorithm, a
step subtracts w·((√n_t + β) / α_t - (√n_{t-1} + β) / α_{t-1}) from z; Keras leaves out the part of it that the change
of α makes. Subtracting that part is the same as working z out from w with the new rate before the step, which rounds
less: w stays what it is until a gradient changes it.

Source: McMahan et al., "Ad click prediction: a view from the trenches", 2013, algorithm 1 and section 3.1; McMahan,
"Follow-the-regularized-leader and mirror descent", 2011, section 3, for rates that change.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfrun.engine.training.groups import Group


def has_sums(group: Group) -> bool:
    """Returns whether a group's optimizer is FTRL, whose weights follow from its rate."""
    return isinstance(group.optimizer, keras.optimizers.Ftrl)


def keep_weights_at_rate(group: Group, before: tf.Tensor, after: tf.Tensor) -> None:
    """Changes the sums of a group with FTRL so that its weights stay what they are at another rate.

    Args:
        group: the group.
        before: the rate that its sums belong to, a scalar float32. 0 is none: it is that of a stage that hasn't begun,
            whose sums belong to the rate of its first step.
        after: the new rate, above 0.
    """
    is_changed = (before > 0) & (after != before)
    for variable in group.variables:
        slots = sums(group, variable)
        linear = tf.convert_to_tensor(slots["linear"])
        weights = tf.cast(tf.convert_to_tensor(variable), linear.dtype)
        moved = is_changed & (weights != 0)  # a weight that λ₁ holds at 0 says nothing of its z
        slots["linear"].assign(tf.where(moved, linear_sum(group, variable, weights, rate=after), linear))


def linear_sum(group: Group, variable: keras.Variable, weights: tf.Tensor, *, rate: tf.Tensor) -> tf.Tensor:
    """Returns the z that gives a variable's weights at a rate; 0 where they are 0.

    Args:
        group: the group, with FTRL.
        variable: whose n it is.
        weights: the variable's, or those that it is to have.
        rate: above 0, a scalar.
    """
    optimizer = group.optimizer
    accumulated = tf.cast(tf.convert_to_tensor(sums(group, variable)["accumulator"]), weights.dtype)
    root = tf.pow(accumulated, -tf.cast(optimizer.learning_rate_power, weights.dtype))
    rate = tf.cast(rate, weights.dtype)
    quadratic = (root + tf.cast(optimizer.beta, weights.dtype)) / rate
    quadratic += 2 * tf.cast(optimizer.l2_regularization_strength, weights.dtype)
    return -weights * quadratic - tf.sign(weights) * tf.cast(optimizer.l1_regularization_strength, weights.dtype)


def sums(group: Group, variable: keras.Variable) -> dict[str, keras.Variable]:
    """Returns FTRL's variables of a weight by their names: `accumulator`, which is n, and `linear`, which is z."""
    return {slot.path.rpartition("_")[2]: slot for slot in group.slots[id(variable)]}


def keep_restored_weights(groups: Sequence[Group], step: int) -> None:
    """Changes the sums of a state that was saved with other rates: of a run that is resumed with another one."""
    for group in groups:
        if has_sums(group) and group.is_trained_at(step):
            before = tf.convert_to_tensor(group.optimizer.learning_rate)
            after = group.learning_rate(tf.constant(step, tf.int64))
            if after > 0 and after != before:
                keep_weights_at_rate(group, before, after)
                group.optimizer.learning_rate.assign(after)
