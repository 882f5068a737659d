"""What is rewritten computes the same, in operations that are right in TensorFlow.js."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.inference.exporting import tfjs_graph
from tfrun.engine.inference.exporting.format import ExportError
from tfrun.engine.inference.exporting.frozen_graph import FrozenGraph


class Calls(keras.layers.Layer):
    """A function of a column."""

    def __init__(self, function: Callable[[tf.Tensor], tf.Tensor]):
        super().__init__()
        self.function = function

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.function(inputs)


def rewritten(function: Callable[[tf.Tensor], tf.Tensor], *, width: int = 3, dtype: str = "float32") -> Any:
    """Returns the rewritten graph of a function of a column x, (B, width), and a function that computes it."""
    inputs = {"x": keras.Input((width,), dtype=dtype, name="x")}
    frozen = FrozenGraph.of(keras.Model(inputs, Calls(function)(inputs["x"])), "tfjs", lowers_loops=False)
    graph = tfjs_graph.rewritten(frozen)
    ends = frozen.inputs["x"].name, frozen.outputs["output"].name

    def compute(x: Any) -> np.ndarray:
        imported = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
        return imported.prune(*(imported.graph.as_graph_element(end) for end in ends))(tf.constant(x)).numpy()

    return graph, compute


def operations(graph: Any) -> set[str]:
    return {node.op for node in graph.node}


def test_one_hot_is_of_integers() -> None:
    graph, compute = rewritten(lambda x: tf.one_hot(x[:, 0], 4), dtype="int32")
    (node,) = (node for node in graph.node if node.op == "OneHot")
    assert node.attr["T"].type == tf.int32.as_datatype_enum
    x = np.array([[1, 0, 0], [3, 0, 0], [7, 0, 0]], "int32")
    assert compute(x).tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert compute(x).dtype == np.float32


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_gather_of_places_in_each_row(dtype: Any) -> None:
    """One place in each row, and several."""
    x = np.array([[1, 5, 9], [2, 6, 4]], "float32")
    graph, compute = rewritten(lambda x: tf.gather(x, tf.cast(x[:, 0], dtype), axis=1, batch_dims=1))
    assert "GatherNd" in operations(graph)
    assert compute(x).tolist() == [5, 4]
    _, several = rewritten(lambda x: tf.gather(x[:, :, None], tf.cast(x[:, :2] % 3, dtype), axis=1, batch_dims=1))
    assert several(x).tolist() == [[[5], [4 + 5]], [[4], [2]]]


def test_gather_along_another_axis_is_refused() -> None:
    with pytest.raises(ExportError, match="gathers along another axis than the second"):
        rewritten(lambda x: tf.gather(x[:, None], tf.cast(x[:, :1], tf.int32), axis=2, batch_dims=1))


def test_weights_are_taken_out_of_the_graph_and_its_functions() -> None:
    def loop(x: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(lambda y: tf.reduce_any(y < 100.0), lambda y: [2.0 * y + 1.5], [x])[0]

    graph, _ = rewritten(loop)
    assert tfjs_graph.is_asynchronous(graph)
    constants = [node for nodes in tfjs_graph._parts(graph) for node in nodes if node.op == "Const"]
    weights = tfjs_graph.take_weights(graph)
    assert len(weights) == len(constants)  # all names differ
    assert 1.5 in [float(value) for value in weights.values() if value.ndim == 0]
    assert not any(node.attr["value"].tensor.ByteSize() > 4 for node in constants)
    assert {value.dtype.name for value in weights.values()} <= {"float32", "int32", "bool"}


def test_what_is_wrong_in_wasm_is_refused_in_a_loop() -> None:
    def loop(x: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(
            lambda y: tf.reduce_any(y < 100.0), lambda y: [y + tf.one_hot(tf.cast(y[:, 0], tf.int32), 3)], [x]
        )[0]

    with pytest.raises(ExportError, match=r"^format=tfjs: OneHot in a loop isn't right in wasm: "):
        rewritten(loop)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x + tf.cast(tf.cast(x, tf.int64) + 2**40, tf.float32), "is int64, and doesn't fit into int32"),
        (lambda x: tf.cast(tf.cast(x, tf.float64) * 0.1, tf.float32), "is float64, which TensorFlow.js lacks"),
    ],
)
def test_numbers_that_javascript_would_change_are_refused(function: Any, message: str) -> None:
    graph, _ = rewritten(function)
    with pytest.raises(ExportError, match=message):
        tfjs_graph.take_weights(graph)
