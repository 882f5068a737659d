"""Batches inside the compiled program: rows of resident examples, a replica's share, the rows' weights.

Examples are a tuple (inputs, targets, weights); weights are `NO_WEIGHTS` if all rows count the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

EVALUATION_ROWS = 1024  # evaluated at once, if they are not larger together than
EVALUATION_BYTES = 2**27
NO_WEIGHTS = ()  # not None, which TensorFlow's nested structures would take for a tensor


class WindowTensor(tf.experimental.ExtensionType):
    """A `tfrun.data.window_array.WindowArray` on the device: (E, length, …) windows over rows that lie there once.

    Attributes:
        values: (N, …) rows of all series.
        starts: the first row of each example, (E,) int32.
        offset: the number of rows between an example's first row and that of the window.
        length: the number of rows of a window.
    """

    values: tf.Tensor
    starts: tf.Tensor
    offset: int
    length: int

    @property
    def shape(self) -> tf.TensorShape:
        return tf.TensorShape([self.starts.shape[0], self.length, *self.values.shape[1:]])

    @property
    def dtype(self) -> tf.DType:
        return self.values.dtype

    def gather(self, examples: tf.Tensor) -> tf.Tensor:
        """Returns the windows of the examples with the given numbers, (B,) int32: (B, length, …)."""
        first = tf.gather(self.starts, examples) + self.offset
        return tf.gather(self.values, first[:, None] + tf.range(self.length))


def gather(examples: Any, rows: tf.Tensor) -> Any:
    """Returns the given rows, (B,) int32, of every tensor of the examples."""
    return tf.nest.map_structure(
        lambda tensor: tensor.gather(rows) if isinstance(tensor, WindowTensor) else tf.gather(tensor, rows), examples
    )


def share_of_replica(rows: tf.Tensor) -> tf.Tensor:
    """Returns this replica's equal share of a batch's leading axis, (B, …)."""
    context = tf.distribute.get_replica_context()
    share = rows.shape[0] // context.num_replicas_in_sync
    others = rows.shape[1:]
    begin = [context.replica_id_in_sync_group * share, *(0 for _ in others)]
    return tf.reshape(tf.slice(rows, begin, [share, *others]), [share, *others])


def shares_of_replicas(strategy: tf.distribute.Strategy, rows: tf.Tensor) -> Any:
    """Returns each replica's share of any number of rows, (B,); the first replicas may have one row more."""
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return rows
    smallest, num_left = divmod(rows.shape[0], replicas)
    parts = tf.split(rows, [smallest + (k < num_left) for k in range(replicas)])
    return strategy.experimental_distribute_values_from_function(
        lambda context: parts[context.replica_id_in_sync_group]
    )


def evaluation_rows(row_bytes: int) -> int:
    """Returns the most rows of a size that are evaluated at once, so that large images fit into the memory.

    It is a power of two, so that the rows of a large file that are read together are whole parts.
    """
    rows = max(1, min(EVALUATION_ROWS, EVALUATION_BYTES // max(1, row_bytes)))
    return 1 << (rows.bit_length() - 1)


def evaluation_size(num_rows: int, *, most: int = EVALUATION_ROWS) -> int:
    """Returns how many rows are evaluated at once: equal parts of all rows, as then one shape is compiled, not two.

    If no suitable number of parts divides the rows, the last part is a little smaller than the others.

    Args:
        num_rows: of all parts.
        most: of a part; see `evaluation_rows`.
    """
    fewest = max(1, -(-num_rows // most))
    for num_parts in range(fewest, 2 * fewest):  # parts of half as many rows are about as fast
        if num_rows % num_parts == 0:
            return max(1, num_rows // num_parts)
    return -(-num_rows // fewest)


def has_weights(weights: Any) -> bool:
    """Returns whether the rows of a batch have weights."""
    return not isinstance(weights, tuple)


def weighted(loss: Callable[..., tf.Tensor], weights: Any) -> Callable[..., tf.Tensor]:
    """Returns a loss whose values are multiplied by the rows' weights, if they have any."""
    if not has_weights(weights):
        return loss
    return lambda y, y_pred: loss(y, y_pred) * weights
