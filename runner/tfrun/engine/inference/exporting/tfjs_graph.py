"""A frozen graph as TensorFlow.js reads it: rewritten where its kernels do otherwise, without the constants' values.

What is rewritten was found out with TensorFlow.js 4.22 by comparing predictions:
- the wasm backend turns the ones of a OneHot of floats into 1.4e-45; that of integers is right;
- the wasm backend's GatherV2 with batch_dims=1 reads beyond the end of its input; GatherNd is right;
- constants inside functions share one table of weights with those outside, by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfrun.engine.inference.exporting import tfjs_operations
from tfrun.engine.inference.exporting.format import ExportError
from tfrun.engine.inference.exporting.frozen_graph import FrozenGraph

FLOAT, WHOLE = tf.float32.as_datatype_enum, tf.int32.as_datatype_enum

# Whose results TensorFlow.js waits for: loops and branches, and operations whose results have shapes that aren't known.
ASYNCHRONOUS = frozenset(
    ("While", "StatelessWhile", "If", "StatelessIf", "Where", "ListDiff")
    + tuple(f"NonMaxSuppressionV{version}" for version in (2, 3, 4, 5))
)


def rewritten(frozen: FrozenGraph) -> Any:
    """Returns the graph, a GraphDef, of operations that TensorFlow.js computes rightly. Raises ExportError."""
    optimized = frozen.optimized()  # without the integer operations of fixed random draws, which TensorFlow.js lacks
    constants = {node.name: node for node in optimized.node if node.op == "Const"}
    result = type(optimized)(versions=optimized.versions, library=optimized.library)
    for node in optimized.node:
        if _is_wrong_one_hot(node):
            _add_one_hot(result, node)
        elif _is_wrong_gather(node):
            _add_gather(result, node, constants)
        else:
            result.node.add().CopyFrom(node)
    for function in result.library.function:
        _rename_constants(function)
        for node in function.node_def:
            if _is_wrong_one_hot(node) or _is_wrong_gather(node):
                raise ExportError(f"format=tfjs: {node.op} in a loop isn't right in wasm: {node.name}. Use saved_model")
    tfjs_operations.refuse_unknown(node for nodes in _parts(result) for node in nodes)
    return result


def _is_wrong_one_hot(node: Any) -> bool:
    return bool(node.op == "OneHot" and node.attr["T"].type == FLOAT)


def _is_wrong_gather(node: Any) -> bool:
    return bool(node.op == "GatherV2" and node.attr["batch_dims"].i)


def take_weights(graph: Any) -> dict[str, np.ndarray]:
    """Removes the values of all constants from a graph, and returns them by name: float32, int32 and bool.

    Raises:
        ExportError: a constant is of another type, or doesn't fit into int32, the only integers of TensorFlow.js.
    """
    weights = {}
    for nodes in _parts(graph):
        for node in nodes:
            if node.op == "Const":
                weights[node.name] = _weight(node)
                node.attr["value"].ClearField("tensor")
                node.attr["value"].tensor.dtype = node.attr["dtype"].type
    return weights


def is_asynchronous(graph: Any) -> bool:
    """Returns whether TensorFlow.js computes a graph asynchronously only."""
    return any(node.op in ASYNCHRONOUS for nodes in _parts(graph) for node in nodes)


def _parts(graph: Any) -> Iterator[Sequence[Any]]:
    """Yields the nodes of a graph, and those of each of its functions."""
    yield graph.node
    for function in graph.library.function:
        yield function.node_def


def _weight(node: Any) -> np.ndarray:
    value = tf.make_ndarray(node.attr["value"].tensor)
    if value.dtype in (np.float32, np.int32, np.bool_):
        return value
    if value.dtype == np.float16:
        return value.astype("float32")
    if value.dtype.kind in "iu":
        whole = value.astype("int32")
        if (whole == value).all():
            return whole
        raise ExportError(f"format=tfjs: {node.name} is {value.dtype}, and doesn't fit into int32. Use saved_model")
    raise ExportError(f"format=tfjs: {node.name} is {value.dtype}, which TensorFlow.js lacks. Use saved_model or keras")


def _add_one_hot(graph: Any, node: Any) -> None:
    """Adds a node's OneHot, of integers, and its cast to floats."""
    add = _Adding(graph, node.name)
    on, off = (add("Cast", node.input[place], SrcT=FLOAT, DstT=WHOLE) for place in (2, 3))
    hot = add("OneHot", *node.input[:2], on, off, T=WHOLE, TI=node.attr["TI"].type)
    graph.node[-1].attr["axis"].i = node.attr["axis"].i
    add("Cast", hot, name=node.name, SrcT=WHOLE, DstT=FLOAT)


def _add_gather(graph: Any, node: Any, constants: Mapping[str, Any]) -> None:
    """Adds GatherNd of the places [row, place], reshaped, in place of a node's GatherV2 of batches."""
    axis = constants.get(node.input[2])
    if node.attr["batch_dims"].i != 1 or axis is None or tf.make_ndarray(axis.attr["value"].tensor) != 1:
        raise ExportError(
            f"format=tfjs: {node.name} gathers along another axis than the second. Use saved_model or keras"
        )
    add, kind = _Adding(graph, node.name), node.attr["Tparams"].type
    zero, one = add.constant(0), add.constant(1)
    whole = add("Cast", node.input[1], SrcT=node.attr["Tindices"].type, DstT=WHOLE)
    shape = add("Shape", whole, T=WHOLE, out_type=WHOLE)
    size = add("Size", whole, T=WHOLE, out_type=WHOLE)
    num_rows = add("GatherV2", shape, zero, zero, Tparams=WHOLE, Tindices=WHOLE, Taxis=WHOLE)
    in_row = add("FloorDiv", size, num_rows, T=WHOLE)
    rows = add("FloorDiv", add("Range", zero, size, one, Tidx=WHOLE), in_row, T=WHOLE)
    flat = add("Reshape", whole, add.constant([-1]), T=WHOLE, Tshape=WHOLE)
    places = add("Pack", rows, flat, T=WHOLE)
    graph.node[-1].attr["N"].i, graph.node[-1].attr["axis"].i = 2, 1
    cells = add("GatherNd", node.input[0], places, Tparams=kind, Tindices=WHOLE)
    of_rows = add("Shape", node.input[0], T=kind, out_type=WHOLE)
    rest = add("Slice", of_rows, add.constant([2]), add.constant([-1]), T=WHOLE, Index=WHOLE)
    together = add("ConcatV2", shape, rest, zero, T=WHOLE, Tidx=WHOLE)
    graph.node[-1].attr["N"].i = 2
    add("Reshape", cells, together, name=node.name, T=kind, Tshape=WHOLE)


class _Adding:
    """Adds nodes in place of one; the last of them has its name."""

    def __init__(self, graph: Any, name: str):
        self._graph = graph
        self._name = name
        self._count = 0

    def __call__(self, op: str, *sources: str, name: str | None = None, **types: int) -> str:
        """Adds a node and returns its name."""
        self._count += 1
        node = self._graph.node.add(name=name or f"{self._name}/{op}_{self._count}", op=op, input=sources)
        for key, value in types.items():
            node.attr[key].type = value
        return str(node.name)

    def constant(self, value: Any) -> str:
        """Adds integers, and returns the name of their node."""
        name = self("Const", dtype=WHOLE)
        self._graph.node[-1].attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype=tf.int32))
        return name


def _rename_constants(function: Any) -> None:
    """Gives the constants of a function, a FunctionDef, names that no other function has."""
    names = {node.name: f"{function.signature.name}/{node.name}" for node in function.node_def if node.op == "Const"}

    def renamed(source: str) -> str:
        name, colon, rest = source.removeprefix("^").partition(":")
        return source[: source.startswith("^")] + names.get(name, name) + colon + rest

    for node in function.node_def:
        node.name = names.get(node.name, node.name)
        node.input[:] = [renamed(source) for source in node.input]
    for key, source in list(function.ret.items()):
        function.ret[key] = renamed(source)
