"""Which errors of TensorFlow come from another worker, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

from tfrun.engine.building.worker_errors import REASON_SECONDS, lost_workers
from tfrun.engine.training.exchange_limit import STUCK
from tfrun.errors import WorkerLostError

UNAVAILABLE = tf.errors.UnavailableError(None, None, "Collective ops is aborted by: x\nmore")


def reason(lost: WorkerLostError | None) -> tuple[Callable[[float], WorkerLostError | None], list[float]]:
    """Returns a function that knows why, or doesn't, and for how long it was asked."""
    asked: list[float] = []

    def find(seconds: float) -> WorkerLostError | None:
        asked.append(seconds)
        return lost

    return find, asked


@pytest.mark.parametrize(
    ("error", "known", "message"),
    [
        (UNAVAILABLE, "worker 1 is gone", "worker 1 is gone"),
        (tf.errors.InvalidArgumentError(None, None, "x"), "worker 1 is gone", "worker 1 is gone"),
        (UNAVAILABLE, None, "another worker is gone: Collective ops is aborted by: x"),
        (tf.errors.UnavailableError(None, None, STUCK), None, r"took longer than strategy\.timeout_seconds"),
    ],
)
def test_what_another_worker_causes_is_one_line(error: Exception, known: str | None, message: str) -> None:
    find, asked = reason(WorkerLostError(known) if known else None)
    with (
        pytest.raises(WorkerLostError, match=f"{message}. Step 3 is saved") as caught,
        lost_workers(find, advice=lambda: ". Step 3 is saved"),
    ):
        raise error
    assert "\n" not in str(caught.value) and caught.value.__cause__ is error
    assert asked == [0.0 if isinstance(error, tf.errors.InvalidArgumentError) else REASON_SECONDS]


@pytest.mark.parametrize("error", [tf.errors.InvalidArgumentError(None, None, "x"), ValueError("x")])
def test_a_bug_stays_one(error: Exception) -> None:
    with pytest.raises(type(error)), lost_workers(reason(None)[0]):
        raise error


def test_a_run_alone_keeps_every_error() -> None:
    nothing: Any = None
    with pytest.raises(tf.errors.UnavailableError), lost_workers(nothing):
        raise UNAVAILABLE
