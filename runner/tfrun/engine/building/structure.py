"""Tells which tensors of a graph have the same values, since they are computed alike from the same tensors."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any


class Structure:
    """The structure of a graph without loops, as `tf.function` traces them.

    Args:
        graph: a traced function's.
    """

    def __init__(self, graph: Any):
        self._keys: dict[str, Hashable] = {}  # of each operation, by its name
        known: dict[Hashable, int] = {}
        for operation in graph.get_operations():  # inputs come first
            self._keys[operation.name] = known.setdefault(self._structure(operation), len(known))

    def key(self, tensor: Any) -> Hashable:
        """Returns what only tensors that are computed alike have in common."""
        while tensor.op.type == "Identity":
            tensor = tensor.op.inputs[0]
        return self._keys[tensor.op.name], tensor.value_index

    def _structure(self, operation: Any) -> Hashable:
        if operation.type == "Placeholder" or operation.op_def.is_stateful:
            return operation.name  # its value isn't a function of its inputs
        node = operation.node_def  # made anew each time
        attributes = type(node)()
        for name, value in node.attr.items():
            if not name.startswith("_"):
                attributes.attr[name].CopyFrom(value)
        inputs = tuple(map(self.key, operation.inputs))
        return operation.type, attributes.SerializeToString(deterministic=True), inputs
