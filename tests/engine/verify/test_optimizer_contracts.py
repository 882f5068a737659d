"""The steps at which schedules are tried, and optimizers that do the update themselves."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.engine.verify import optimizer_contracts
from tfrun.engine.verify.findings import collect


def test_every_step_of_a_short_run_is_tried_and_the_ends_of_a_long_one() -> None:
    assert optimizer_contracts._steps(3).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert len(optimizer_contracts._steps(1000)) == 2001
    steps = optimizer_contracts._steps(1_000_000)
    assert {0, 1, 2, 3, 999_997, 999_998, 999_999, 1_000_000} <= set(steps.tolist())
    assert len(steps) < 5000 and np.diff(steps).max() < 2000


def test_a_schedule_may_branch_on_the_step() -> None:
    def late(step: Any, total_steps: Any) -> Any:
        factor = tf.constant(1.0)
        if tf.cast(step, tf.float32) >= 0.5 * total_steps:  # AutoGraph makes an operation of it, as in a run
            factor = tf.constant(0.1)
        return factor

    assert [finding for finding in collect(optimizer_contracts.check_schedule(lambda: late)) if not finding.kept] == []


def test_a_schedule_that_draws_is_caught() -> None:
    def noisy(step: Any) -> Any:
        return tf.random.uniform([])

    tf.random.set_seed(0)  # as the command does
    broken = [finding for finding in collect(optimizer_contracts.check_schedule(lambda: noisy)) if not finding.kept]
    assert "at the same step it always returns the same" in [finding.promise for finding in broken]


def test_an_optimizer_that_is_restored_takes_the_same_step() -> None:
    def make(learning_rate: float = 0.01) -> Any:
        return keras.optimizers.SGD(learning_rate, momentum=0.9)

    assert optimizer_contracts._check_state(make).kept
