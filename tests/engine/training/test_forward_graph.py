from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from tfrun.engine.training import forward_graph
from tfrun.engine.training.forward_graph import ForwardGraph


def traced(noted: ForwardGraph) -> None:
    weight = tf.Variable([[2.0]])

    @tf.function
    def step(x: tf.Tensor) -> tf.Tensor:
        scaled = 3 * x
        with noted.noted("model"), tf.name_scope("outer"):
            with tf.name_scope("model_1"):
                y = tf.matmul(scaled, weight)
            loss = tf.square(y, name="squared")
        return tf.reduce_sum(loss)

    step(tf.ones([4, 1]))


def test_the_operations_of_a_forward_pass() -> None:
    noted = ForwardGraph()
    traced(noted)
    assert noted.graph is not None
    nodes = {node.name: node for node in noted.graph.node}
    product = nodes["model_1/MatMul"]
    assert product.op == "MatMul" and list(product.input) == ["inputs/mul", "model_1/MatMul/ReadVariableOp"]
    assert [dim.size for dim in product.attr["_output_shapes"].list.shape[0].dim] == [4, 1]
    assert list(nodes["loss/squared"].input) == ["model_1/MatMul"]
    assert not nodes["inputs/mul"].input
    assert not any("sum" in name.lower() for name in nodes)  # it follows the forward pass


def test_the_first_trace_counts_and_python_has_none() -> None:
    noted = ForwardGraph()
    with noted.noted("model"):
        tf.square(2.0)
    assert noted.graph is None
    traced(noted)
    graphs: list[Any] = [noted.graph]
    traced(noted)
    assert graphs[0] is not None and noted.graph is graphs[0]


def test_a_graph_that_is_too_large_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_graph, "MAX_NODES", 2)
    noted = ForwardGraph()
    traced(noted)
    assert noted.graph is None
