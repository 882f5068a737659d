"""The state of several replicas: it is the same on all of them after each step.

Most variables are the same on all replicas by themselves, since their updates are. A forward pass may change others,
each replica's by its own share of the batch: the moving statistics of batch normalization, for instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


def components(strategy: tf.distribute.Strategy, variable: Any) -> list[tf.Variable]:
    """Returns the variables of the single replicas that a variable, Keras' or TensorFlow's, consists of."""
    value = variable.value if isinstance(variable, keras.Variable) else variable
    return list(strategy.experimental_local_results(value))


def summed(gradients: Sequence[Any]) -> list[Any]:
    """Returns the sums of the gradients of all replicas; those by rows become the rows of all replicas together.

    Called on a replica.
    """
    context = tf.distribute.get_replica_context()

    def of_all(part: tf.Tensor) -> tf.Tensor:
        shape = [context.num_replicas_in_sync * part.shape[0], *part.shape[1:]]
        return tf.ensure_shape(context.all_gather(part, axis=0), shape)

    whole = [k for k, gradient in enumerate(gradients) if not isinstance(gradient, tf.IndexedSlices)]
    sums = context.all_reduce(tf.distribute.ReduceOp.SUM, [gradients[k] for k in whole])
    by_place = dict(zip(whole, sums, strict=True))
    return [
        by_place[k]
        if k in by_place
        else tf.IndexedSlices(of_all(gradient.values), of_all(gradient.indices), gradient.dense_shape)
        for k, gradient in enumerate(gradients)
    ]


def has_parts(variable: Any) -> bool:
    """Returns whether the replicas have parts of a value, which is their sum: a metric's total, for instance."""
    value = variable.value if isinstance(variable, keras.Variable) else variable
    is_split = value.synchronization == tf.VariableSynchronization.ON_READ
    return is_split and value.aggregation == tf.VariableAggregation.SUM


def synchronize(strategy: tf.distribute.Strategy, variables: Sequence[Any]) -> None:
    """Makes variables the same on all replicas: the mean of floats, and the first replica's value of all others.

    Args:
        strategy: the devices.
        variables: those that a forward pass may have changed.
    """
    if strategy.num_replicas_in_sync == 1:
        return
    for variable in variables:
        if has_parts(variable) or _is_always_the_same(variable):
            continue
        of_replicas = components(strategy, variable)
        values = [component.read_value() for component in of_replicas]
        value = values[0]
        if value.dtype.is_floating:
            value = tf.add_n(values) / tf.cast(len(values), value.dtype)
        for component in of_replicas:
            component.assign(value)


def _is_always_the_same(variable: Any) -> bool:
    """Returns whether TensorFlow aggregates each assignment to a variable."""
    value = variable.value if isinstance(variable, keras.Variable) else variable
    is_mirrored = value.synchronization != tf.VariableSynchronization.ON_READ
    return is_mirrored and value.aggregation != tf.VariableAggregation.NONE
