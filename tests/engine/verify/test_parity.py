"""Compiled steps beside the same steps in Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.verify import parity


def compare(small: Any, loss: Any = None) -> dict[str, parity.Difference]:
    """Returns the differences of two steps by mode, and checks that the state is restored."""
    pieces = small.pieces()
    if loss is not None:
        pieces.parts.step.loss = loss
    program = pieces.make_program()
    state = pieces.state(program)
    before = state.read()
    differences = parity.compare(program, state, num_steps=2)
    for slot, array in state.read().items():
        np.testing.assert_array_equal(array, before[slot])
    return {difference.mode: difference for difference in differences}


def test_compiled_steps_are_those_of_python(small: Any) -> None:
    differences = compare(small)
    assert list(differences) == ["graph", "xla"]
    assert all(difference.off < 1e-5 and difference.first is None for difference in differences.values())


def test_a_loss_that_differs_when_it_is_traced_is_found(small: Any) -> None:
    def loss(y: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return tf.square(y_pred - y)[:, 0] * (1.5 if tf.inside_function() else 1.0)

    for difference in compare(small, loss).values():
        assert difference.off > 0.1
        assert difference.first is not None and difference.first[0] == 1


def test_a_step_that_xla_can_not_compile_is_reported(small: Any) -> None:
    def loss(y: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return tf.square(y_pred[:, 0]) + tf.strings.to_number(tf.strings.as_string(y[:, 0]))

    differences = compare(small, loss)
    assert differences["graph"].first is None
    assert np.isnan(differences["xla"].off) and "XLA can't compile this step" in differences["xla"].tensor


@pytest.mark.parametrize(
    ("actual", "expected", "distance"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([0.1], [0.3], 0.2),  # absolute below 1
        ([10.0, 30.0], [10.0, 40.0], 0.25),
        ([np.nan, np.inf], [np.nan, np.inf], 0.0),
        ([], [], 0.0),
    ],
)
def test_the_distance_is_relative_to_the_largest_value(actual: Any, expected: Any, distance: float) -> None:
    assert parity._distance(np.array(actual), np.array(expected)) == pytest.approx(distance)


def test_a_value_that_is_finite_only_once_is_infinitely_far() -> None:
    assert parity._distance(np.array([np.nan]), np.array([1.0])) > 1e100
