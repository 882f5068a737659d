"""A table and the copy of an optimizer that updates rows of it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training.groups import Group
from tfrun.engine.training.rows import RowGradient
from tfrun.engine.training.table import Table, build_with_slots
from tfrun.errors import ConfigError

STRATEGY = tf.distribute.get_strategy()


def make(optimizer: Any, table: keras.Variable) -> Table:
    slots = build_with_slots(optimizer, [keras.Variable(tf.ones(2)), table])
    group = Group("all", [table], optimizer=optimizer, slots=slots)
    return Table.of(table, group, 0, num_ids=3, last_place=None, where="optimizer")


def test_an_update_reads_and_writes_the_rows_of_its_ids() -> None:
    """Adagrad from an accumulator of 1: a = 1 + g², w − 0.5·g / √a."""
    variable = keras.Variable(np.arange(8.0).reshape(4, 2))
    table = make(keras.optimizers.Adagrad(0.1, initial_accumulator_value=1.0, epsilon=0.0), variable)
    gradient = RowGradient(
        tf.constant([[2.0, 0.0], [3.0, 4.0], [0.0, 0.0]]), tf.constant([2, 0, 2]), [True, True, False]
    )
    update = table.update(gradient, tf.constant(0.5), STRATEGY)
    np.testing.assert_array_equal(variable, np.arange(8.0).reshape(4, 2))  # nothing is written yet
    assert bool(update.finite)
    table.write(update, tf.constant(False), STRATEGY, in_xla=False)
    np.testing.assert_array_equal(variable, np.arange(8.0).reshape(4, 2))
    table.write(update, tf.constant(True), STRATEGY, in_xla=False)
    rows = [[0 - 1.5 / 10**0.5, 1 - 2.0 / 17**0.5], [2.0, 3.0], [4 - 1 / 5**0.5, 5.0], [6.0, 7.0]]
    np.testing.assert_allclose(variable, rows, rtol=1e-6)
    (accumulator,) = table.slots
    np.testing.assert_allclose(accumulator, [[10, 17], [1, 1], [5, 1], [1, 1]])


def test_an_update_that_isnt_finite_is_known_before_it_is_written() -> None:
    table = make(keras.optimizers.SGD(1.0), keras.Variable(tf.fill([4, 1], 3e38)))
    gradient = RowGradient(tf.fill([3, 1], -3e38), tf.constant([0, 1, 2]), tf.fill([3], True))
    assert not bool(table.update(gradient, tf.constant(1.0), STRATEGY).finite)


def test_the_slots_of_each_variable_are_known() -> None:
    first, second = keras.Variable(tf.ones(2)), keras.Variable(tf.ones((4, 2)))
    optimizer = keras.optimizers.Adam(0.1)
    slots = build_with_slots(optimizer, [first, second])
    assert [[slot.shape for slot in slots[id(variable)]] for variable in (first, second)] == [[(2,)] * 2, [(4, 2)] * 2]
    known = {id(slot) for of_variable in slots.values() for slot in of_variable}
    assert known < {id(variable) for variable in optimizer.variables}


def test_an_optimizer_whose_slots_have_other_shapes_is_refused() -> None:
    with pytest.raises(ConfigError, match="can't update some rows of .* by themselves"):
        make(keras.optimizers.Adafactor(0.1), keras.Variable(tf.ones((200, 130))))
