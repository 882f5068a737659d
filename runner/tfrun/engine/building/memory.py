"""The memory that a model needs: a line that says so, instead of a traceback or a process that the kernel kills."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrun import host_memory
from tfrun.engine import private
from tfrun.errors import ResourceError

ALWAYS_THERE = 2**26  # bytes, for which the kernel isn't asked
ADVICE = "Fewer or smaller layers need less, a smaller data.batch_size or trainer.microbatches less for each step"


@contextlib.contextmanager
def enough_to_build(check_sum: Callable[[float], None] | None = None) -> Iterator[None]:
    """Raises ResourceError before a variable is made, the model's or an optimizer's, that the memory has no room for.

    The kernel promises more memory than there is, and kills the process that uses it, so that TensorFlow may see no
    error. The initial values of a variable are computed beside it, so that it needs its memory twice.

    Args:
        check_sum: called with the free bytes once all variables together take more than a small model's, before more
            is made; raises ResourceError if the memory has no room for all of them.
    """
    watch = _Watch(check_sum)
    with one_line_errors(), private.before_variables(watch.check):
        try:
            yield
        finally:
            if watch.error is not None:  # Keras drops errors of a build that it only tries
                raise watch.error


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns what Python and TensorFlow raise if there is no memory left into ResourceError."""
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        reason = " ".join(str(error).split("\n")[0].split())[:200]
        raise ResourceError(f"the memory is used up: {reason or 'no memory left'}. {ADVICE}") from error


def check_training(weights: Sequence[keras.Variable], trained: Sequence[keras.Variable]) -> None:
    """Raises ResourceError if the memory has no room for what training needs beside the model and its optimizers.

    Args:
        weights: of the model, of which the best are kept.
        trained: those that have a gradient.
    """
    needed = sum_of_bytes((*weights, *trained))
    if needed > _free_bytes():
        raise ResourceError(
            f"model: the memory has no room to train it. Received: {gib(needed)} of gradients and best weights, and "
            f"{gib(_free_bytes())} are free. {ADVICE}"
        )


class _Watch:
    """Checks variables as they are made.

    Attributes:
        error: what was raised for one of them, or None.
    """

    def __init__(self, check_sum: Callable[[float], None] | None):
        self.error: ResourceError | None = None
        self._check_sum = check_sum
        self._num_bytes = 0

    def check(self, shape: Sequence[int], dtype: Any) -> None:
        """Raises ResourceError if the memory has no room for a variable, or for those that follow."""
        self._num_bytes += _num_bytes(shape, dtype)
        try:
            if self._check_sum is not None and self._num_bytes > ALWAYS_THERE:
                check_sum, self._check_sum = self._check_sum, None  # once
                check_sum(_free_bytes())
            _check_variable(shape, dtype)
        except ResourceError as error:
            self.error = error
            raise


def _check_variable(shape: Sequence[int], dtype: Any) -> None:
    needed = 2 * _num_bytes(shape, dtype)
    if needed > ALWAYS_THERE and needed > _free_bytes():
        raise ResourceError(
            f"model: the memory has no room for it. Received: a variable of the shape {tuple(shape)}, which needs "
            f"{gib(needed)} while it is made, and {gib(_free_bytes())} are free. {ADVICE}"
        )


def sum_of_bytes(variables: Sequence[keras.Variable]) -> int:
    """Returns the memory that the values of variables take, in bytes; they need not have any yet."""
    return sum(_num_bytes(variable.shape, variable.dtype) for variable in variables)


def _num_bytes(shape: Sequence[int], dtype: Any) -> int:
    return math.prod(shape) * tf.as_dtype(dtype).size


def _free_bytes() -> float:
    """Returns the host's free memory; inf with a GPU, whose allocator raises an error in time."""
    return math.inf if tf.config.list_logical_devices("GPU") else host_memory.free_bytes()


def gib(num_bytes: float) -> str:
    """Returns a number of bytes for a message."""
    return f"{num_bytes / 2**30:,.1f} GiB"
