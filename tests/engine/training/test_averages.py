"""Moving averages of weights, computed by hand."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf

from tfrun.engine.training.averages import AveragedWeights


def test_the_first_step_sets_the_average_and_later_steps_move_it() -> None:
    weight = keras.Variable(1.0)
    averages = AveragedWeights([weight], 0.75)
    for step, value in enumerate([8.0, 4.0, 0.0]):
        weight.assign(value)
        averages.update(tf.constant(step, tf.int64))
    # 8, then 0.75·8 + 0.25·4 = 7, then 0.75·7
    assert float(averages.variables[0].numpy()) == pytest.approx(5.25)
    assert float(weight.numpy()) == 0.0


def test_swapping_twice_restores_the_weights() -> None:
    weight = keras.Variable([1.0, 2.0])
    averages = AveragedWeights([weight], 0.5)
    weight.assign([3.0, 4.0])
    averages.swap()
    assert (weight.numpy().tolist(), averages.variables[0].numpy().tolist()) == ([1.0, 2.0], [3.0, 4.0])
    averages.swap()
    assert (weight.numpy().tolist(), averages.variables[0].numpy().tolist()) == ([3.0, 4.0], [1.0, 2.0])


def test_an_average_has_the_dtype_of_its_weight() -> None:
    averages = AveragedWeights([keras.Variable([1.0], dtype="float64")], 0.5)
    averages.update(tf.constant(1, tf.int64))
    assert averages.variables[0].dtype == "float64"
