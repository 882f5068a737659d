"""A model of raw rows as a graph whose weights are constants, which converters start from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfrun.engine import private
from tfrun.engine.inference.exporting.format import ExportError
from tfrun.engine.inference.exporting.portable import function_of
from tfrun.protocols import MAIN_OUTPUT

# `layout` is missing, as it would transpose images for a GPU.
OPTIMIZERS = ("pruning", "constfold", "arithmetic", "dependency", "remap")


@dataclass(frozen=True)
class FrozenGraph:
    """A graph without variables.

    Attributes:
        graph: a GraphDef.
        inputs: the tensor of each column.
        outputs: the tensor of each output by its name.
    """

    graph: Any
    inputs: dict[str, tf.Tensor]
    outputs: dict[str, tf.Tensor]

    @classmethod
    def of(cls, model: keras.Model, format: str, *, lowers_loops: bool) -> FrozenGraph:
        """Freezes a model of raw rows, in which each step of recurrent layers has operations of its own.

        Args:
            model: see `portable`.
            format: the name of the format that it is frozen for.
            lowers_loops: whether other loops and branches become operations of TensorFlow 1, instead of functions.

        Raises:
            ExportError: it has a table or another state that can't be a constant.
        """
        with unrolled(model):
            function = function_of(model).get_concrete_function()
        frozen = private.freeze_variables(function, lowers_loops=lowers_loops)
        states = [tensor.op.name for tensor in frozen.inputs if tensor.dtype == tf.resource]
        if states:
            raise ExportError(f"format={format}: can't hold a model with a look-up table or other state of its own")
        columns = sorted(model.input)  # TensorFlow sorts the keys of mappings
        outputs = sorted(model.output) if isinstance(model.output, dict) else [MAIN_OUTPUT]
        return cls(
            frozen.graph.as_graph_def(),
            dict(zip(columns, frozen.inputs, strict=True)),
            dict(zip(outputs, frozen.outputs, strict=True)),
        )

    def optimized(self) -> Any:
        """Returns the graph, a GraphDef, as TensorFlow would run it: what is constant is computed."""
        ends = {"inputs": list(self.inputs.values()), "outputs": list(self.outputs.values())}
        return private.optimized_graph(self.graph, ends=ends, optimizers=OPTIMIZERS)


def sum_scattered(graph: Any) -> None:
    """Puts a TensorScatterAdd to zeros in the place of each ScatterNd of a graph, a GraphDef.

    They are the same, but the converters to ONNX and OpenVINO make an operation of a ScatterNd that keeps one of the
    values for a place, instead of their sum.
    """
    _sum_scattered(graph.node, separator=":")
    for function in graph.library.function:
        _sum_scattered(function.node_def, separator=":output:")


def _sum_scattered(nodes: Any, *, separator: str) -> None:
    """Does so with the nodes of a graph or of a function, which have a result's place, 0, behind the separator."""
    for node in [node for node in nodes if node.op == "ScatterNd"]:
        kind, index = node.attr["T"].type, node.attr["Tindices"].type
        places, values, shape = node.input
        zero = nodes.add(name=f"{node.name}/zero", op="Const")
        zero.attr["dtype"].type = kind
        zero.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(0, dtype=kind))
        zeros = nodes.add(name=f"{node.name}/zeros", op="Fill", input=[shape, f"{zero.name}{separator}0"])
        zeros.attr["T"].type, zeros.attr["index_type"].type = kind, index
        node.op = "TensorScatterAdd"
        node.input[:] = [f"{zeros.name}{separator}0", places, values]


@contextlib.contextmanager
def unrolled(model: keras.Model) -> Iterator[None]:
    """Lets recurrent layers be traced without a loop while the context is open; some runtimes can't run loops."""
    rolled = [layer for layer in private.layers_of(model) if getattr(layer, "unroll", None) is False]
    try:
        for layer in rolled:
            layer.unroll = True
        yield
    finally:
        for layer in rolled:
            layer.unroll = False
