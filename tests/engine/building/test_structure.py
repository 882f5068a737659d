"""Which tensors of a graph are computed alike."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from tfrun.engine.building.structure import Structure

ROWS = {
    "the same operations": (lambda x: x[:, 1] + 3, True),
    "a copy": (lambda x: tf.identity(tf.identity(x)[:, 1]) + 3, True),
    "another constant": (lambda x: x[:, 1] + 4, False),
    "another column": (lambda x: x[:, 0] + 3, False),
    "another operation": (lambda x: x[:, 1] - 3, False),
    "another type": (lambda x: tf.cast(x, tf.int64)[:, 1] + 3, False),
    "another output": (lambda x: tf.unstack(x, axis=1)[1], False),
    "random numbers": (lambda x: x[:, 1] + 0 * tf.random.uniform([5], maxval=9, dtype=tf.int32, seed=1) + 3, False),
}


@pytest.mark.parametrize(("function", "alike"), ROWS.values(), ids=ROWS)
def test_tensors_are_alike_if_their_operations_are(function: Any, alike: bool) -> None:
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.int32, [5, 2])
        first, second = x[:, 1] + 3, function(x)
    structure = Structure(graph)
    assert (structure.key(first) == structure.key(second)) == alike


def test_each_output_of_an_operation_and_each_input_of_a_graph_is_another_tensor() -> None:
    with tf.Graph().as_default() as graph:
        x, z = (tf.compat.v1.placeholder(tf.int32, [5, 2]) for _ in range(2))
        columns = tf.unstack(x, axis=1)
        again = tf.unstack(x, axis=1)
        draws = [tf.random.uniform([5], seed=1) for _ in range(2)]
    structure = Structure(graph)
    assert structure.key(columns[0]) == structure.key(again[0]) != structure.key(columns[1])
    assert structure.key(x) != structure.key(z)
    assert structure.key(draws[0]) != structure.key(draws[1])
