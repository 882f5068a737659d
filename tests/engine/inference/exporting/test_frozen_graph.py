"""Frozen graphs have no variables and no loops of recurrent layers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.inference.exporting.format import ExportError
from tfrun.engine.inference.exporting.frozen_graph import FrozenGraph, sum_scattered, unrolled


def recurrent() -> keras.Model:
    inputs = {"größe": keras.Input((5, 2), name="gr"), "b": keras.Input((1,), name="b")}
    states = keras.layers.Bidirectional(keras.layers.GRU(3))(inputs["größe"])
    return keras.Model(inputs, {"z": keras.layers.Dense(1)(states), "a": -inputs["b"]})


def test_ends_have_the_names_of_columns_and_outputs() -> None:
    frozen = FrozenGraph.of(recurrent(), "f", lowers_loops=False)
    assert {name: tensor.shape.as_list() for name, tensor in frozen.inputs.items()} == {
        "b": [None, 1], "größe": [None, 5, 2],
    }  # fmt: skip
    operations = {node.op for node in frozen.graph.node}
    assert not operations & {"While", "StatelessWhile", "ReadVariableOp", "Enter"}
    imported = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(frozen.optimized(), name=""), [])
    negative = imported.prune(frozen.inputs["b"].name, frozen.outputs["a"].name)
    assert negative(tf.constant([[2.0]])).numpy().tolist() == [[-2.0]]


def test_a_person_s_model_is_as_before() -> None:
    model = recurrent()
    layers = [layer for layer in model.layers[2:] if hasattr(layer, "forward_layer")]
    parts = [part for layer in layers for part in (layer.forward_layer, layer.backward_layer)]
    rows = {"größe": np.ones((4, 5, 2), "float32"), "b": np.ones((4, 1), "float32")}
    before = model(rows)["z"]
    with unrolled(model):
        assert [part.unroll for part in parts] == [True, True]
        np.testing.assert_allclose(tf.function(model)(rows)["z"], before, rtol=1e-5)
    assert [part.unroll for part in parts] == [False, False]


def test_a_table_can_not_be_frozen() -> None:
    text = keras.Input((1,), dtype="string", name="x")
    model: Any = keras.Model({"x": text}, keras.layers.StringLookup(vocabulary=["a"])(text))
    with pytest.raises(ExportError, match=r"^format=f: can't hold a model with a look-up table or other state"):
        FrozenGraph.of(model, "f", lowers_loops=False)


def test_scattered_values_are_added_up() -> None:
    """Two values of a place, in the graph and in the function of a loop."""

    def scattered(x: tf.Tensor) -> tf.Tensor:
        return tf.scatter_nd([[1], [1], [0]], tf.reshape(x, [3]), [2])

    @tf.function
    def looped(x: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(lambda k, _: k < 2, lambda k, y: (k + 1, y + scattered(x)), [0, scattered(x)])[1]

    function = looped.get_concrete_function(tf.TensorSpec([1, 3], name="x"))
    graph = function.graph.as_graph_def()
    sum_scattered(graph)
    operations = [{node.op for node in nodes} for nodes in (graph.node, *(f.node_def for f in graph.library.function))]
    assert not any("ScatterNd" in known for known in operations)
    assert sum("TensorScatterAdd" in known for known in operations) == 2
    with tf.Graph().as_default() as imported, tf.compat.v1.Session(graph=imported) as session:
        tf.graph_util.import_graph_def(graph, name="")
        added = session.run(function.outputs[0].name, {"x:0": [[1.0, 2.0, 4.0]]})
    assert added.tolist() == [12.0, 9.0]  # three times [4, 1 + 2]
