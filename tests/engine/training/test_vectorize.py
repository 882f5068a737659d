"""Lanes of runs that are trained together, by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training.vectorize import ALONE, Lanes, cond


def test_a_step_of_two_lanes() -> None:
    w, count = keras.Variable([0.0, 0.0]), keras.Variable(0, dtype="int32")
    values = [[np.array([1.0, 2.0], np.float32), np.int32(0)], [np.array([10.0, 20.0], np.float32), np.int32(5)]]
    lanes = Lanes([w, count], optimizers=[], values=[[np.asarray(value) for value in lane] for lane in values])

    def step(factor: tf.Tensor) -> tf.Tensor:
        def double() -> tf.Tensor:
            w.assign(2.0 * w)
            return tf.constant(1)

        def leave() -> tf.Tensor:
            count.assign_add(100)
            return tf.constant(2)

        count.assign_add(1)
        which = cond(factor > 0.0, double, leave)
        w.assign(w + factor)
        return tf.reduce_sum(w), which

    sums, which = lanes.each(step, tf.constant([True, True]), tf.constant([1.0, -1.0]))
    assert sums.numpy().tolist() == [2 * 3 + 2, 30 - 2]
    assert which.numpy().tolist() == [1, 2]
    lanes.each(step, tf.constant([False, True]), tf.constant([1.0, 1.0]))
    lanes.load(0)
    assert (w.numpy().tolist(), int(count.numpy())) == ([3.0, 5.0], 1)
    lanes.load(1)
    assert (w.numpy().tolist(), int(count.numpy())) == ([19.0, 39.0], 107)


def test_a_variable_outside_of_the_state_may_not_be_changed() -> None:
    known = keras.Variable(0.0)
    unknown = keras.Variable(0.0)
    lanes = Lanes([known], optimizers=[], values=[[np.zeros([], np.float32)]] * 2)
    with pytest.raises(ValueError, match="not part of the run's state"):
        lanes.each(lambda: unknown.assign(1.0), tf.constant([True, True]))


def test_lanes_get_new_values() -> None:
    w = keras.Variable(0.0)
    lanes = Lanes([w], optimizers=[], values=[[np.array(1.0, np.float32)], [np.array(2.0, np.float32)]])
    assert (lanes.count, lanes.name) == (2, ", 2 together")
    lanes.write([[np.array(5.0, np.float32)], [np.array(6.0, np.float32)]])
    lanes.load(1)
    assert float(w.numpy()) == 6.0


def test_one_run_has_no_lanes() -> None:
    w = keras.Variable(1.0)
    result = ALONE.each(lambda x: w.assign_add(x), tf.constant(True), tf.constant(2.0))
    assert float(result) == float(w.numpy()) == 3.0


def test_a_condition_outside_of_lanes_calls_one_function() -> None:
    w = keras.Variable(1.0)
    result = cond(tf.constant(False), lambda: w.assign(9.0), lambda: w.assign(2.0))
    assert float(result) == float(w.numpy()) == 2.0
