"""The state of several replicas: it is the same on all of them after each step.

Most variables are the same on all replicas by themselves, since their updates are. A forward pass may change others,
each replica's by its own share of the batch: the moving statistics of batch normalization, for instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

SEED_STATE = "seed_generator_state"  # Keras' name for the variable of each seed generator


def components(strategy: tf.distribute.Strategy, variable: Any) -> list[tf.Variable]:
    """Returns the variables of the single replicas that a variable, Keras' or TensorFlow's, consists of."""
    value = variable.value if isinstance(variable, keras.Variable) else variable
    return list(strategy.experimental_local_results(value))


def spans_processes(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether some of the replicas are in other processes."""
    count = strategy.num_replicas_in_sync
    return count > 1 and len(strategy.extended.worker_devices) < count  # the default strategy knows no devices


def first_of_process(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of the first replica that is in this process."""
    numbers = strategy.experimental_distribute_values_from_function(lambda context: context.replica_id_in_sync_group)
    return int(strategy.experimental_local_results(numbers)[0])


def gathered(strategy: tf.distribute.Strategy, variables: Sequence[Any]) -> list[tf.Tensor]:
    """Returns the values of each variable on all replicas, those in other processes too: (N, …), in their order.

    The variables travel together, as each exchange takes a few milliseconds however little is exchanged.
    """
    by_dtype: dict[tf.DType, list[int]] = {}
    for k, variable in enumerate(variables):
        by_dtype.setdefault(components(strategy, variable)[0].dtype, []).append(k)
    values: dict[int, tf.Tensor] = {}

    def flat(places: Sequence[int]) -> tf.Tensor:
        return tf.concat([tf.reshape(tf.convert_to_tensor(variables[k]), [-1]) for k in places], axis=0)

    for places in by_dtype.values():
        shapes = [components(strategy, variables[k])[0].shape for k in places]

        def exchange(places: Sequence[int] = tuple(places)) -> tf.Tensor:
            return tf.distribute.get_replica_context().all_gather(flat(places)[None], axis=0)

        everything = strategy.experimental_local_results(strategy.run(exchange))[0]
        parts = tf.split(everything, [shape.num_elements() for shape in shapes], axis=1)
        for k, part, shape in zip(places, parts, shapes, strict=True):
            values[k] = tf.reshape(part, [strategy.num_replicas_in_sync, *shape])
    return [values[k] for k in range(len(variables))]


def summed(gradients: Sequence[Any]) -> list[Any]:
    """Returns the sums of the gradients of all replicas; those by rows become the rows of all replicas together.

    Called on a replica. Whole ones travel together.
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
    changing = [variable for variable in variables if not (has_parts(variable) or _is_always_the_same(variable))]
    for variable, values in zip(changing, _values(strategy, changing), strict=True):
        of_replicas = components(strategy, variable)
        value = values[0]
        if value.dtype.is_floating:
            value = tf.add_n(values) / tf.cast(len(values), value.dtype)
        for component in of_replicas:
            component.assign(value)


def _values(strategy: tf.distribute.Strategy, variables: Sequence[Any]) -> list[list[tf.Tensor]]:
    """Returns the values of each variable on all replicas."""
    if not spans_processes(strategy):
        return [[part.read_value() for part in components(strategy, variable)] for variable in variables]
    # seeds are changed by each draw, on all replicas alike, and would be exchanged at each step
    changing = [variable for variable in variables if getattr(variable, "name", "") != SEED_STATE]
    values = dict(zip(map(id, changing), gathered(strategy, changing), strict=True))
    return [
        tf.unstack(values[id(variable)])
        if id(variable) in values
        else [part.read_value() for part in components(strategy, variable)]
        for variable in variables
    ]


def _is_always_the_same(variable: Any) -> bool:
    """Returns whether TensorFlow aggregates each assignment to a variable."""
    value = variable.value if isinstance(variable, keras.Variable) else variable
    is_mirrored = value.synchronization != tf.VariableSynchronization.ON_READ
    return is_mirrored and value.aggregation != tf.VariableAggregation.NONE
