"""The best of an epoch's values, and when patience is over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training.tracker import Tracker


def track(tracker: Tracker, values: Sequence[float]) -> list[tuple[bool, bool]]:
    """Returns for each epoch whether its value is the best so far, and whether patience is over then."""
    results = []
    for epoch, value in enumerate(values, start=1):
        is_better = tracker.update(tf.constant(value), tf.constant(10 * epoch, tf.int64))
        results.append((bool(is_better), bool(tracker.patience_is_over())))
    return results


def test_the_smallest_value_is_the_best() -> None:
    tracker = Tracker("val/loss", "min", patience=2)
    results = track(tracker, [5.0, 4.0, 4.0, 3.0, np.nan, 3.5])
    assert [is_better for is_better, _ in results] == [True, True, False, True, False, False]
    assert [is_over for _, is_over in results] == [False, False, False, False, False, True]
    assert (float(tracker.best), int(tracker.best_step), int(tracker.wait)) == (3.0, 40, 2)


def test_the_greatest_value_is_the_best() -> None:
    tracker = Tracker("val/r2", "max")
    assert [is_better for is_better, _ in track(tracker, [-2.0, -3.0, 0.5, np.nan])] == [True, False, True, False]
    assert (float(tracker.best), int(tracker.best_step)) == (0.5, 30)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_value_that_is_not_finite_is_never_the_best(mode: str) -> None:
    tracker = Tracker("val/loss", mode, patience=3)
    results = track(tracker, [np.inf, -np.inf, 1.0, np.inf, -np.inf, np.nan])
    assert [is_better for is_better, _ in results] == [False, False, True, False, False, False]
    assert [is_over for _, is_over in results] == [False] * 5 + [True]


def test_an_improvement_of_min_delta_is_too_small() -> None:
    tracker = Tracker("val/loss", "min", min_delta=0.5)
    assert [is_better for is_better, _ in track(tracker, [4.0, 3.5, 3.4])] == [True, False, True]


@pytest.mark.parametrize(("patience", "epoch"), [(None, 0), (0, 2), (1, 2), (3, 4)])
def test_patience(patience: int | None, epoch: int) -> None:
    tracker = Tracker("val/loss", "min", patience=patience)
    assert not bool(tracker.patience_is_over())
    over = [is_over for _, is_over in track(tracker, [1.0, 2.0, 2.0, 2.0, 2.0])]
    assert (over.index(True) + 1 if True in over else 0) == epoch


def test_its_state_is_the_best_value_its_step_and_the_epochs_since() -> None:
    tracker = Tracker("val/loss", "min")
    track(tracker, [2.0, 1.0, 3.0])
    assert [float(variable.numpy()) for variable in tracker.variables] == [1.0, 20.0, 1.0]
