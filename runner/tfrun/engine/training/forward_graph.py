"""The operations of a step's forward pass and its loss, for TensorBoard's Graphs tab.

They are noted while the step is traced anyway, so no graph is traced for it.
"""

from __future__ import annotations

import contextlib
import os.path
import re
from collections.abc import Iterator

import tensorflow as tf

MAX_NODES = 5_000  # TensorBoard draws larger graphs slowly; a larger one isn't kept
INPUTS, LOSS = "inputs", "loss"  # the groups of what the forward pass receives, and of what follows the model


class ForwardGraph:
    """Keeps the graph of the first forward pass that is traced.

    Attributes:
        graph: its operations with their edges and shapes, without constants' values, or None: nothing has been traced,
            or it has too many operations.
    """

    def __init__(self) -> None:
        self.graph: tf.compat.v1.GraphDef | None = None
        self._is_noted = False

    @contextlib.contextmanager
    def noted(self, model: str) -> Iterator[None]:
        """Keeps the operations that are added within this context, the first time that it is traced.

        Args:
            model: the model's name, which is the scope of its operations; what is in no such scope is in `loss`.
        """
        if self._is_noted or tf.executing_eagerly():
            yield
            return
        graph = tf.compat.v1.get_default_graph()
        before = len(graph.get_operations())
        yield
        self._is_noted = True
        operations = graph.get_operations()[before:]
        if len(operations) <= MAX_NODES:
            self.graph = _graph_of(operations, model)


def _graph_of(operations: list[tf.Operation], model: str) -> tf.compat.v1.GraphDef:
    """Returns the operations as nodes; what comes from outside is a node without inputs.

    The scopes of the loops that all operations are in, `while/while/`, are left out of their names.
    """
    scopes = [operation.name.split("/")[:-1] for operation in operations]
    loops = os.path.commonprefix(scopes)
    names = {operation.name: "/".join(operation.name.split("/")[len(loops) :]) for operation in operations}
    of_model = re.compile(rf"{re.escape(model)}(_\d+)?/")
    if any(of_model.match(name) for name in names.values()):
        names = {full: name if of_model.match(name) else f"{LOSS}/{name}" for full, name in names.items()}
    outside: dict[str, tf.Operation] = {}
    result = tf.compat.v1.GraphDef()
    for operation in operations:
        node = _node(result, names[operation.name], operation)
        for tensor in operation.inputs:
            name = names.get(tensor.op.name)
            if name is None:
                name = f"{INPUTS}/{tensor.op.name.rpartition('/')[2]}"
                outside[name] = tensor.op
            node.input.append(f"{name}:{tensor.value_index}" if tensor.value_index else name)
    for name, operation in outside.items():
        _node(result, name, operation)
    return result


def _node(graph: tf.compat.v1.GraphDef, name: str, operation: tf.Operation) -> tf.compat.v1.NodeDef:
    """Adds a node with the shapes of its outputs, which TensorBoard writes at the edges."""
    node = graph.node.add(name=name, op=operation.type)
    shapes = node.attr["_output_shapes"].list
    for tensor in operation.outputs:
        shapes.shape.append(tensor.shape.as_proto())
    return node
