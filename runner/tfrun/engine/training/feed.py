"""Where a block's examples come from: all of them lie on the device, or the host brings a stretch at a time.

Both give the program tensors of examples and the numbers of the rows in them that make up its batches, in the run's
one order. So the program needn't know which of the two it is, and both train the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfrun.data import arrays
from tfrun.data.examples import Examples
from tfrun.engine.training.order import Order

STRETCH_BYTES = 64 * 2**20
MAX_STRETCH_STEPS = 4096


class Part(NamedTuple):
    """Examples on the device, (inputs, targets, weights), and which of their rows are meant, padded as asked for."""

    data: Any
    rows: tf.Tensor
    num_rows: int


class Feed(Protocol):
    """What the program needs of its examples."""

    def keep(self, rows: np.ndarray, multiple: int) -> Part | None:
        """Returns the given rows as one part, padded to a whole multiple, or None where they are too many to keep."""

    def blocks(self, first_step: int, num_steps: int) -> Iterator[tuple[int, int]]:
        """Yields (first step, number of steps): those steps cut up into what one block can train."""

    def batches(self, first_step: int, num_steps: int, length: int) -> Part:
        """Returns what the steps of one block see, its rows padded to `length`."""

    def parts(self, rows: np.ndarray, multiple: int) -> Iterator[Part]:
        """Yields the given rows in order, each part's padded to a whole multiple."""


class Resident:
    """All examples on the device.

    Args:
        examples: encoded; an aligned array on a CPU is used where it lies, not copied.
        order: which training rows each step sees.
        strategy: every replica's device gets all of them.
    """

    def __init__(self, examples: Examples, order: Order, strategy: tf.distribute.Strategy):
        data = tf.nest.map_structure(_as_tensor, examples.arrays)
        self._data = strategy.experimental_distribute_values_from_function(lambda _: data)
        self._order = order

    def blocks(self, first_step: int, num_steps: int) -> Iterator[tuple[int, int]]:
        yield first_step, num_steps

    def batches(self, first_step: int, num_steps: int, length: int) -> Part:
        rows = self._order.block(first_step, num_steps)
        return Part(self._data, tf.constant(np.pad(rows, (0, length - len(rows)))), len(rows))

    def keep(self, rows: np.ndarray, multiple: int) -> Part:
        return Part(self._data, tf.constant(_padded(rows, multiple)), len(rows))

    def parts(self, rows: np.ndarray, multiple: int) -> Iterator[Part]:
        yield self.keep(rows, multiple)


class Stream:
    """Examples that stay on the host, in memory or on disk; a thread brings the next stretch while one is trained on.

    Args:
        examples: encoded, or arrays on disk.
        order: which training rows each step sees.
        strategy: every replica's device gets each stretch.
        stretch_bytes: how much is brought at once; up to three stretches are in memory, and one of validation rows.
    """

    def __init__(
        self, examples: Examples, order: Order, strategy: tf.distribute.Strategy, stretch_bytes: int = STRETCH_BYTES
    ):
        self._arrays = examples.arrays
        self._order, self._strategy = order, strategy
        self._rows_at_once = max(1, stretch_bytes // max(1, _row_bytes(self._arrays)))
        steps = min(MAX_STRETCH_STEPS, order.steps_per_epoch, self._rows_at_once // order.batch_size)
        self.stretch_steps = max(1, steps)
        self._reader = ThreadPoolExecutor(1, "reader")
        self._coming: tuple[int, Future[Any]] | None = None
        self._here: tuple[int, Any] | None = None

    def blocks(self, first_step: int, num_steps: int) -> Iterator[tuple[int, int]]:
        end = first_step + num_steps
        while first_step < end:
            count = min(end, self._end_of_stretch(first_step)) - first_step
            yield first_step, count
            first_step += count

    def batches(self, first_step: int, num_steps: int, length: int) -> Part:
        begin = self._begin_of_stretch(first_step)
        if self._here is None or self._here[0] != begin:
            here = self._coming[1] if self._coming and self._coming[0] == begin else self._read_steps(begin)
            after = self._end_of_stretch(begin)
            self._here = None  # frees the last stretch
            self._coming = after, self._read_steps(after)
            self._here = begin, here.result()
        size = self._order.batch_size
        rows = np.arange((first_step - begin) * size, (first_step - begin + num_steps) * size, dtype=np.int32)
        return Part(self._here[1], tf.constant(np.pad(rows, (0, length - len(rows)))), len(rows))

    def keep(self, rows: np.ndarray, multiple: int) -> Part | None:
        return next(self.parts(rows, multiple)) if len(rows) <= self._rows_at_once else None

    def parts(self, rows: np.ndarray, multiple: int) -> Iterator[Part]:
        at_once = max(1, self._rows_at_once // multiple) * multiple
        stretches = [rows[start : start + at_once] for start in range(0, len(rows), at_once)]
        coming = [self._reader.submit(self._read, stretch) for stretch in stretches[:1]]
        for k, stretch in enumerate(stretches):
            data = coming.pop().result()
            coming += [self._reader.submit(self._read, after) for after in stretches[k + 1 : k + 2]]
            # padding repeats the first row: it has no weight
            yield Part(data, tf.constant(_padded(np.arange(len(stretch)), multiple)), len(stretch))

    def _begin_of_stretch(self, step: int) -> int:
        return step - step % self._order.steps_per_epoch % self.stretch_steps

    def _end_of_stretch(self, step: int) -> int:
        end_of_epoch = step - step % self._order.steps_per_epoch + self._order.steps_per_epoch
        return min(self._begin_of_stretch(step) + self.stretch_steps, end_of_epoch)

    def _read_steps(self, begin: int) -> Future[Any]:
        rows = self._order.block(begin, self._end_of_stretch(begin) - begin)
        # always as many rows: a program is compiled for one shape
        return self._reader.submit(self._read, rows, self.stretch_steps * self._order.batch_size)

    def _read(self, rows: np.ndarray, length: int | None = None) -> Any:
        rows = np.pad(rows, (0, (length or len(rows)) - len(rows)))
        data = tf.nest.map_structure(lambda array: _as_tensor(arrays.take(array, rows, dtype_of(array))), self._arrays)
        return self._strategy.experimental_distribute_values_from_function(lambda _: data)


def sample(examples: Examples, count: int = 2) -> Any:
    """Returns the first few examples, (inputs, targets, weights), as the program gets them."""
    rows = np.arange(count)
    return tf.nest.map_structure(lambda array: arrays.take(array, rows, dtype_of(array)), examples.arrays)


def data_bytes(examples: Examples) -> int:
    """Returns the size of the examples on the device."""
    return examples.num_rows * _row_bytes(examples.arrays)


def bytes_to_load(examples: Examples) -> int:
    """Returns how much memory the device needs for all examples; a CPU uses what is in the host's memory already."""
    if tf.config.list_logical_devices("GPU"):
        return data_bytes(examples)
    leaves = tf.nest.flatten(examples.arrays)
    return examples.num_rows * _row_bytes([array for array in leaves if not isinstance(array, np.ndarray)])


def _row_bytes(data: Any) -> int:
    return sum(int(np.prod(array.shape[1:])) * np.dtype(dtype_of(array)).itemsize for array in tf.nest.flatten(data))


def dtype_of(array: Any) -> Any:
    """Returns what an array is on the device: one in memory is encoded already, one on disk is not."""
    return array.dtype if isinstance(array, np.ndarray) else np.dtype(keras.config.floatx())


def _as_tensor(array: Any) -> tf.Tensor:
    """Returns an array as a tensor on the default device; on a CPU it is the same memory."""
    array = arrays.load(array, dtype_of(array))
    with tf.device("CPU:0"):
        tensor = tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.identity(tensor) if tf.config.list_logical_devices("GPU") else tensor


def _padded(rows: np.ndarray, multiple: int) -> np.ndarray:
    return np.pad(rows.astype(np.int32), (0, -len(rows) % multiple))
