"""Where a block's examples come from: all of them are on the device, or the host sends them a stretch at a time.

Both give the program tensors of examples, and the numbers of the rows in them that make up its batches, in the run's
one order. So the program needn't know which of the two it is, and both train the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfrun.data import arrays
from tfrun.data.examples import Examples
from tfrun.data.window_array import WindowArray
from tfrun.engine.training.batches import WindowTensor, evaluation_rows
from tfrun.engine.training.order import Order

STRETCH_BYTES = 64 * 2**20
MAX_STRETCH_STEPS = 4096


class Selection(NamedTuple):
    """Rows of examples on the device.

    Attributes:
        data: the examples, (inputs, targets, weights).
        rows: the numbers of the selected rows in them, int32.
    """

    data: Any
    rows: tf.Tensor


class Feed(Protocol):
    """Provides the program with examples.

    Attributes:
        evaluation_rows: the most rows to evaluate at once.
    """

    evaluation_rows: int

    def blocks(self, first_step: int, num_steps: int) -> Iterator[tuple[int, int]]:
        """Yields (first step, number of steps) of the blocks in which these steps can be trained."""

    def batches(self, first_step: int, num_steps: int, *, length: int) -> Selection:
        """Returns the batches of one block, one after the other, then row numbers that nobody reads up to `length`."""

    def select(self, rows: np.ndarray) -> Selection | None:
        """Returns the given rows; None if they are too many for the device to hold for long."""

    def selections(self, rows: np.ndarray, multiple: int) -> Iterator[Selection]:
        """Yields the given rows in their order, in one or several selections.

        Each of them but the last has a multiple of `multiple` rows.
        """


class Resident:
    """A feed of examples that are all on the device.

    Args:
        examples: encoded; an aligned array is not copied to a CPU, but used where it lies.
        order: which training rows each step sees.
        strategy: the devices; each replica's has all examples.
    """

    def __init__(self, examples: Examples, order: Order, *, strategy: tf.distribute.Strategy):
        data = tf.nest.map_structure(_as_tensor, examples.arrays)
        self._data = strategy.experimental_distribute_values_from_function(lambda _: data)
        self.evaluation_rows = rows_to_evaluate(examples)
        self._order = order

    def blocks(self, first_step: int, num_steps: int) -> Iterator[tuple[int, int]]:
        yield first_step, num_steps

    def batches(self, first_step: int, num_steps: int, *, length: int) -> Selection:
        rows = self._order.block(first_step, num_steps)
        return Selection(self._data, tf.constant(_padded_to(rows, length)))

    def select(self, rows: np.ndarray) -> Selection:
        return Selection(self._data, tf.constant(rows.astype(np.int32)))

    def selections(self, rows: np.ndarray, multiple: int) -> Iterator[Selection]:
        yield self.select(rows)


class Stream:
    """A feed of examples that stay on the host, in memory or on disk.

    A thread reads the next stretch of them while the program trains on the one before.

    Args:
        examples: encoded, or arrays on disk.
        order: which training rows each step sees.
        strategy: the devices; each replica's gets each stretch.
        stretch_bytes: the size of a stretch; up to three are in memory, and one of validation rows.

    Attributes:
        stretch_steps: the steps of a stretch; one that ends with its epoch may have fewer.
    """

    def __init__(
        self,
        examples: Examples,
        order: Order,
        *,
        strategy: tf.distribute.Strategy,
        stretch_bytes: int = STRETCH_BYTES,
    ):
        self._arrays = examples.arrays
        self.evaluation_rows = rows_to_evaluate(examples)
        self._order = order
        self._strategy = strategy
        self._stretch_rows = max(1, stretch_bytes // max(1, _row_bytes(self._arrays)))
        steps = min(MAX_STRETCH_STEPS, order.steps_per_epoch, self._stretch_rows // order.batch_size)
        self.stretch_steps = max(1, steps)
        self._reader = ThreadPoolExecutor(1, "reader")
        # each with the step that it begins at
        self._current: tuple[int, Any] | None = None
        self._next: tuple[int, Future[Any]] | None = None

    def blocks(self, first_step: int, num_steps: int) -> Iterator[tuple[int, int]]:
        end = first_step + num_steps
        while first_step < end:
            count = min(end, self._end_of_stretch(first_step)) - first_step
            yield first_step, count
            first_step += count

    def batches(self, first_step: int, num_steps: int, *, length: int) -> Selection:
        begin = self._begin_of_stretch(first_step)
        stretch = self._stretch(begin)
        batch_size = self._order.batch_size
        first_row = (first_step - begin) * batch_size
        rows = np.arange(first_row, first_row + num_steps * batch_size, dtype=np.int32)
        return Selection(stretch, tf.constant(_padded_to(rows, length)))

    def select(self, rows: np.ndarray) -> Selection | None:
        return next(self.selections(rows, len(rows))) if len(rows) <= self._stretch_rows else None

    def selections(self, rows: np.ndarray, multiple: int) -> Iterator[Selection]:
        size = max(1, self._stretch_rows // multiple) * multiple
        stretches = [rows[start : start + size] for start in range(0, len(rows), size)]
        pending = [self._reader.submit(self._read, stretch) for stretch in stretches[:1]]
        for k, stretch in enumerate(stretches):
            data = pending.pop().result()  # the host waits for the disk here
            pending += [self._reader.submit(self._read, following) for following in stretches[k + 1 : k + 2]]
            yield Selection(data, tf.range(len(stretch)))

    def _stretch(self, begin: int) -> Any:
        """Returns the examples of the stretch that begins at a step, and lets the reader start with the one after."""
        if self._current is None or self._current[0] != begin:
            pending = self._next
            future = pending[1] if pending and pending[0] == begin else self._submit(begin)
            following = self._end_of_stretch(begin)
            self._current = None  # frees the memory of the last stretch
            self._next = following, self._submit(following)
            self._current = begin, future.result()  # the host waits for the disk here
        return self._current[1]

    def _begin_of_stretch(self, step: int) -> int:
        return step - step % self._order.steps_per_epoch % self.stretch_steps

    def _end_of_stretch(self, step: int) -> int:
        end_of_epoch = step - step % self._order.steps_per_epoch + self._order.steps_per_epoch
        return min(self._begin_of_stretch(step) + self.stretch_steps, end_of_epoch)

    def _submit(self, begin: int) -> Future[Any]:
        """Lets the reader read the stretch that begins at a step."""
        rows = self._order.block(begin, self._end_of_stretch(begin) - begin)
        # the program is compiled for one shape, so that a shorter stretch is padded
        length = self.stretch_steps * self._order.batch_size
        return self._reader.submit(lambda: self._read(_padded_to(rows, length)))

    def _read(self, rows: np.ndarray) -> Any:
        data = tf.nest.map_structure(
            lambda array: _as_tensor(arrays.take(array, rows, dtype=dtype_of(array))), self._arrays
        )
        return self._strategy.experimental_distribute_values_from_function(lambda _: data)


def sample(examples: Examples, count: int = 2) -> Any:
    """Returns the first `count` examples, the last of them again if there are fewer; see `take`."""
    return take(examples, np.minimum(np.arange(count), examples.num_rows - 1))


def take(examples: Examples, rows: np.ndarray) -> Any:
    """Returns the examples of some rows, (inputs, targets, weights), as the program gets them."""
    return tf.nest.map_structure(lambda array: arrays.take(array, rows, dtype=dtype_of(array)), examples.arrays)


def rows_to_evaluate(examples: Examples) -> int:
    """Returns the most examples to evaluate at once."""
    return evaluation_rows(_row_bytes(examples.arrays))


def data_bytes(examples: Examples) -> int:
    """Returns the size of the examples on the device."""
    return _size(tf.nest.flatten(examples.arrays))


def bytes_to_load(examples: Examples) -> int:
    """Returns how much memory the device needs for all examples; a CPU uses arrays in the host's memory as they are."""
    if tf.config.list_logical_devices("GPU"):
        return data_bytes(examples)
    leaves = [array.values if isinstance(array, WindowArray) else array for array in tf.nest.flatten(examples.arrays)]
    return _size([array for array in leaves if not isinstance(array, np.ndarray)])


def _size(leaves: Iterable[Any]) -> int:
    """Returns the size of arrays on the device, where the rows of windows lie once."""
    sizes = 0
    for array in leaves:
        is_window = isinstance(array, WindowArray)
        rows = array.values if is_window else array
        sizes += len(rows) * _row_bytes(rows) + (array.starts.nbytes if is_window else 0)
    return sizes


def _row_bytes(data: Any) -> int:
    return sum(int(np.prod(array.shape[1:])) * np.dtype(dtype_of(array)).itemsize for array in tf.nest.flatten(data))


def dtype_of(array: Any) -> Any:
    """Returns an array's dtype on the device: that of an encoded one; others, which lie on disk, become floats."""
    rows = array.values if isinstance(array, WindowArray) else array
    is_encoded = isinstance(rows, np.ndarray) or rows.is_encoded
    return rows.dtype if is_encoded else np.dtype(keras.config.floatx())


def _as_tensor(array: Any) -> Any:
    """Returns an array as a tensor on the default device; on a CPU it is the same memory."""
    if isinstance(array, WindowArray):
        return WindowTensor(_as_tensor(array.values), _as_tensor(array.starts), array.offset, array.length)
    array = arrays.load(array, dtype_of(array))
    with tf.device("CPU:0"):
        tensor = tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.identity(tensor) if tf.config.list_logical_devices("GPU") else tensor


def _padded_to(rows: np.ndarray, length: int) -> np.ndarray:
    """Returns row numbers padded with zeros to a length."""
    return np.pad(rows, (0, length - len(rows)))
