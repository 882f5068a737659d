"""Targets: their units, how many outputs each needs, and which output belongs to which."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfrun.data.targets import FittedTarget, TargetScale, main_output, of_output


def test_a_scale_restores_the_targets_own_unit() -> None:
    restored = TargetScale(mean=100.0, standard_deviation=5.0).restore(tf.constant([-2.0, 0.0, 0.5]))
    assert restored.dtype == tf.float32
    np.testing.assert_array_equal(restored, [90.0, 100.0, 102.5])


def test_the_scale_of_an_unscaled_target_returns_the_same_tensor_even_of_class_ids() -> None:
    ids = tf.constant([[0], [2]])
    assert TargetScale().restore(ids) is ids


@pytest.mark.parametrize(
    ("target", "num_outputs"),
    [
        (FittedTarget("regression"), 1),
        (FittedTarget("classification", ["no", "yes"]), 1),  # one logit
        (FittedTarget("classification", ["a", "b", "c"]), 3),
    ],
)
def test_a_target_tells_how_many_outputs_it_needs(target: FittedTarget, num_outputs: int) -> None:
    assert target.num_outputs == num_outputs


def test_an_output_without_a_target_of_its_own_has_the_main_one() -> None:
    targets = {"output": 1, "height": 2}
    assert of_output(targets, "height") == 2
    assert of_output(targets, "auxiliary") == main_output(targets) == 1


def test_a_single_value_serves_every_output() -> None:
    assert of_output(7, "height") == main_output(7) == 7
