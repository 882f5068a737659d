"""Tells errors that another worker causes from bugs: TensorFlow raises its own for both."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import tensorflow as tf

from tfrun.engine.training.exchange_limit import STUCK
from tfrun.errors import WorkerLostError

# what a worker gets in an exchange with others, of which one has ended, is frozen or takes too long
LOST = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)
REASON_SECONDS = 3.0  # within which the connection to a worker that has ended is closed


@contextlib.contextmanager
def lost_workers(
    reason: Callable[[float], WorkerLostError | None] | None, advice: Callable[[], str] = lambda: ""
) -> Iterator[None]:
    """Raises WorkerLostError for an error of TensorFlow that comes from another worker.

    Args:
        reason: returns which worker has ended and why, if one does within a number of seconds; None if there is no
            other worker.
        advice: returns what is added to the message.
    """
    try:
        with _one_error(reason):
            yield
    except WorkerLostError as error:
        error.args = (f"{error}{advice()}",)
        raise


@contextlib.contextmanager
def _one_error(reason: Callable[[float], WorkerLostError | None] | None) -> Iterator[None]:
    """Raises WorkerLostError for TensorFlow's errors that come from another worker; `reason` as for `lost_workers`."""
    try:
        yield
    except tf.errors.OpError as error:
        if reason is None:
            raise
        is_lost = isinstance(error, LOST)
        if lost := reason(REASON_SECONDS if is_lost else 0.0):
            raise lost from error
        if STUCK in str(error):
            raise WorkerLostError(f"strategy: {STUCK}") from error
        if isinstance(error, tf.errors.UnavailableError):
            raise WorkerLostError(f"strategy: another worker is gone: {str(error).splitlines()[0]}") from error
        raise
