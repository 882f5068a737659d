"""The memory that a model needs: a line that says so, instead of a traceback or a process that the kernel kills."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrun import host_memory
from tfrun.engine import private
from tfrun.errors import ResourceError

ALWAYS_THERE = 2**26  # bytes, for which the kernel isn't asked
ADVICE = "Fewer or smaller layers need less, a smaller data.batch_size or trainer.microbatches less for each step"


@contextlib.contextmanager
def enough_to_build() -> Iterator[None]:
    """Raises ResourceError before a variable is made, the model's or an optimizer's, that the memory has no room for.

    The kernel promises more memory than there is, and kills the process that uses it, so that TensorFlow may see no
    error. The initial values of a variable are computed beside it, so that it needs its memory twice.
    """
    with one_line_errors(), private.before_variables(_check_variable):
        yield


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
    needed = sum(_num_bytes(v.shape, v.dtype) for v in (*weights, *trained))
    if needed > _free_bytes():
        raise ResourceError(
            f"model: the memory has no room to train it. Received: {_gib(needed)} of gradients and best weights, and "
            f"{_gib(_free_bytes())} are free. {ADVICE}"
        )


def _check_variable(shape: Sequence[int], dtype: Any) -> None:
    needed = 2 * _num_bytes(shape, dtype)
    if needed > ALWAYS_THERE and needed > _free_bytes():
        raise ResourceError(
            f"model: the memory has no room for it. Received: a variable of the shape {tuple(shape)}, which needs "
            f"{_gib(needed)} while it is made, and {_gib(_free_bytes())} are free. {ADVICE}"
        )


def _num_bytes(shape: Sequence[int], dtype: Any) -> int:
    return math.prod(shape) * tf.as_dtype(dtype).size


def _free_bytes() -> float:
    """Returns the host's free memory; inf with a GPU, whose allocator raises an error in time."""
    return math.inf if tf.config.list_logical_devices("GPU") else host_memory.free_bytes()


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:,.1f} GiB"
