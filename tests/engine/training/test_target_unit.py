"""Targets in their own unit, whose scale is an input of the program."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.data.targets import TargetScale
from tfrun.engine.training.epoch_metrics import restore
from tfrun.engine.training.target_unit import TargetUnit


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [
        (TargetScale(100.3, 5.7), "float32"),
        (TargetScale(100.3, 5.7), "bfloat16"),
        (TargetScale(1.7e9, 100.1), "float32"),
        (TargetScale(1.7e9, 100.1, exact=False), "float32"),
        (TargetScale(), "float32"),
        (TargetScale(), "bfloat16"),
        (TargetScale(exact=False), "bfloat16"),
    ],
)
def test_the_bits_are_those_of_constants(scale: TargetScale, dtype: str) -> None:
    values = tf.cast(tf.constant([[0.1], [-1 / 3], [2.5]]), dtype)
    unit = TargetUnit(scale)
    expected = restore(scale, values)
    for found in (restore(unit, values), tf.function(lambda: restore(unit, values), jit_compile=True)()):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("exact", [True, False])
def test_float64_has_the_scale_in_float64_except_in_earlier_versions(exact: bool) -> None:
    keras.config.set_floatx("float64")
    try:
        unit = TargetUnit(TargetScale(0.1, 1 / 3, exact=exact))
        assert [learnt.variable.dtype for learnt in unit.inputs.values()] == ["float64"] * 2
    finally:
        keras.config.set_floatx("float32")
    third = tf.constant([[1.0]], tf.float64)
    expected = 1 / 3 + 0.1 if exact else float(np.float32(1 / 3)) + float(np.float32(0.1))
    assert float(unit.restore(third)[0, 0]) == expected


def test_a_traced_function_takes_another_scale() -> None:
    unit = TargetUnit(TargetScale(10.0, 2.0))
    restored = tf.function(lambda values: restore(unit, values))
    assert restored(tf.constant([3.0])).numpy().tolist() == [16.0]
    unit.inputs["mean"].assign(np.array(1.0, np.float32))
    unit.inputs["standard_deviation"].assign(np.array(4.0, np.float32))
    assert restored(tf.constant([3.0])).numpy().tolist() == [13.0]
    assert restored.experimental_get_tracing_count() == 1


def test_a_program_is_made_for_whether_a_scale_does_something() -> None:
    scales = [TargetScale(), TargetScale(1.0, 2.0), TargetScale(1e6, 1.0), TargetScale(1.0, 2.0, exact=False)]
    structures = [TargetUnit.structure_of(scale) for scale in scales]
    assert all(structures.count(structure) == 1 for structure in structures)
    assert TargetUnit.structure_of(TargetScale(3.0, 2.5)) == structures[1]
    assert [list(TargetUnit(scale).inputs) for scale in scales[:2]] == [[], ["standard_deviation", "mean"]]
