"""Estimates the work of a step before TensorFlow's runtime starts, from a model that is built in a graph.

TensorFlow fixes its number of threads when its runtime starts, which the first variable does. A graph has no values: a
model is built and called in it with shapes alone, and starts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfrun.data.table import Features
from tfrun.engine.building import random_state

# a function's or a loop's operations aren't those of the graph
UNKNOWN = ("While", "StatelessWhile", "PartitionedCall", "StatefulPartitionedCall", "PyFunc", "EagerPyFunc")
CONVOLUTIONS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative")
TRANSPOSED = ("Conv2DBackpropInput", "Conv3DBackpropInputV2")
PRODUCTS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")


class Work(NamedTuple):
    """The largest of the operations of a model's call: one operation is what threads share.

    Attributes:
        product: the floating-point operations of the largest matrix product or convolution, two for each multiply-add.
        array: the number of values of the largest array, variables included, without tables.
        tables: the number of values of each variable that is only read by rows, by its path.
    """

    product: int
    array: int
    tables: Mapping[str, int] = MappingProxyType({})


class _Shapes(keras.StatelessScope):
    """Gives variables placeholders in place of values: initializers would be most of the graph."""

    def get_current_value(self, variable: keras.Variable) -> Any:
        if super().get_current_value(variable) is None:
            self.add_update((variable, tf.compat.v1.placeholder(variable.dtype, variable.shape)))
        return super().get_current_value(variable)


def work_of(build: Callable[[], keras.Model], features: Features, *, num_rows: int) -> Work | None:
    """Returns the work of a model's call, or None if it doesn't follow from the graph.

    Args:
        build: returns the model, not called yet.
        features: describe the inputs.
        num_rows: of a call.

    Raises:
        Exception: whatever a model raises that can't be built or called without values.
    """
    _, values, graph = _called(build, features, num_rows)
    operations = graph.get_operations()
    if any(operation.type in UNKNOWN for operation in operations):
        return None
    tables = {variable.path: value for variable, value in values if _is_table(value)}
    of_tables = {value.op for value in tables.values()}
    outputs = [output.shape for op in operations if op not in of_tables for output in op.outputs]
    arrays = [_size(shape) for shape in outputs if shape.is_fully_defined()]
    try:
        products = list(_products(operations))
    except (TypeError, ValueError):  # of a length that isn't known before there are values
        return None
    return Work(
        max(products, default=0), max(arrays, default=0), {path: _size(table.shape) for path, table in tables.items()}
    )


def called_without_values(build: Callable[[], keras.Model], features: Features, *, num_rows: int) -> keras.Model:
    """Returns a model whose variables have shapes but no values; arguments and errors as for `work_of`."""
    return _called(build, features, num_rows)[0]


def _called(
    build: Callable[[], keras.Model], features: Features, num_rows: int
) -> tuple[keras.Model, list[tuple[keras.Variable, tf.Tensor]], tf.Graph]:
    """Returns a model, its variables with the placeholders of their values, and the graph of its call."""
    graph = tf.Graph()
    shapes = _Shapes(initialize_variables=False)
    with random_state.kept(shapes), graph.as_default():
        model = build()
        model(_inputs(features, num_rows), training=False)
        values = [(variable, shapes.get_current_value(variable)) for variable in model.variables]
    return model, values, graph


def _is_table(value: tf.Tensor) -> bool:
    """Returns whether rows of a variable are gathered, and nothing else is done with it."""
    readers = value.consumers()
    return bool(readers) and all(reader.type == "GatherV2" and reader.inputs[0] is value for reader in readers)


def _inputs(features: Features, num_rows: int) -> Any:
    """Returns symbolic inputs as a program gets them: a dict for a table, a single tensor for an array."""
    inputs = {
        name: tf.compat.v1.placeholder(dtype, (num_rows, *shape))
        for name, (dtype, shape) in input_shapes(features).items()
    }
    return next(iter(inputs.values())) if len(inputs) == 1 and features.arrays else inputs


def input_shapes(features: Features) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Returns the dtype of each input, and the shape that it has in one example."""
    floatx = keras.config.floatx()
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    if features.numbers:
        shapes["numbers"] = floatx, (len(features.numbers),)
    if features.categories:
        shapes["categories"] = "int32", (len(features.categories),)
    shapes |= {name: ("int32", (length,)) for name, (_, length) in features.tokens.items()}
    return shapes | {name: (floatx, shape) for name, shape in features.arrays.items()}


def _products(operations: list[Any]) -> Iterator[int]:
    """Yields the floating-point operations of each matrix product and convolution.

    Raises:
        TypeError, ValueError: a shape isn't known.
    """
    for operation in operations:
        shapes = [tensor.shape for tensor in operation.inputs]
        if operation.type in PRODUCTS:
            flag, row = ("transpose_a", 0) if operation.type == "MatMul" else ("adj_x", -2)
            inner = shapes[0][row] if operation.get_attr(flag) else shapes[0][-1]
            yield 2 * _size(operation.outputs[0].shape) * int(inner)
        elif operation.type == "Einsum":
            yield _einsum(operation.get_attr("equation").decode(), shapes, operation.outputs[0].shape)
        elif operation.type in CONVOLUTIONS:
            last = -2 if operation.type.startswith("Depthwise") else -1
            yield 2 * _size(operation.outputs[0].shape) * _size(shapes[1][:last])
        elif operation.type in TRANSPOSED:
            yield 2 * _size(shapes[2]) * _size(shapes[1][:-1])


def _einsum(equation: str, shapes: list[Any], output: Any) -> int:
    """Returns the floating-point operations of `tf.einsum`: of each output, as many as the axes that it sums over."""
    inputs, outputs = equation.split("->")
    lengths: dict[str, int] = {}
    for labels, shape in zip(inputs.split(","), shapes, strict=True):
        before, _, after = labels.partition("...")
        lengths |= dict(zip(before, shape.as_list(), strict=False))
        lengths |= dict(zip(reversed(after), reversed(shape.as_list()), strict=False))
    return 2 * _size(output) * math.prod(length for label, length in lengths.items() if label not in outputs)


def _size(shape: Any) -> int:
    return math.prod(shape.as_list())
