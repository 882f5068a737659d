"""The operations of a LiteRT file: which of them can be computed in int8, and which weights float16 can hold."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

# operations that multiply by weights, so that the size of their results doesn't follow from that of their inputs
LAYERS = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "BATCH_MATMUL")
SHAPE = "SHAPE"  # reads a tensor's shape, not its values; the states of recurrent layers start as zeros of that shape
LOOKUPS = {"GATHER": 0, "EMBEDDING_LOOKUP": 1}  # of rows of a table, by ids: which input the table is
DEQUANTIZE_VERSION = 3  # the first one that takes float16


class Graph:
    """The main graph of a LiteRT file.

    Args:
        content: the file.
    """

    def __init__(self, content: bytes):
        self._model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
        self._graph = self._model.subgraphs[0]

    @property
    def content(self) -> bytes:
        """The file with all changes."""
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self._model))

    def nodes_in_float32(self, cells: Collection[str]) -> list[str]:
        """Returns the names of the results of the operations that stay float32, since int8 would ruin them.

        These are the ones between a table's cells and the first layers, and between the last layers and the outputs,
        with these layers: int8 has one scale for a whole tensor, and the columns of a table, or predictions in the unit
        of the target, are of very different sizes in one. Tables of embeddings are no such layers.

        Args:
            cells: the names of the inputs that are a table's cells.

        Raises:
            ValueError: no layer would be left.
        """
        inputs = {tensor.name.decode(): tensor.tensorIndex for tensor in self._model.signatureDefs[0].inputs}
        kept = [
            *self._reached({inputs[name] for name in cells}, backwards=False),
            *self._reached(set(self._graph.outputs), backwards=True),
        ]
        kept_places = {id(operator) for operator in kept}
        left = [operator for operator in self._graph.operators if id(operator) not in kept_places]
        if not any(self._kind(operator) in LAYERS or self._is_lookup(operator) for operator in left):
            advice = "quantize=dynamic rounds those too"
            raise ValueError(f"it has no layer between its first and its last ones, which stay float32. {advice}")
        return sorted({self._graph.tensors[k].name.decode() for operator in kept for k in operator.outputs})

    def _reached(self, tensors: set[int], *, backwards: bool) -> list[Any]:
        """Returns the operations on the way from tensors to the next layers, these included."""
        result = []
        operators = self._graph.operators
        for operator in reversed(operators) if backwards else operators:
            sources, results = set(operator.inputs), set(operator.outputs)
            if backwards:
                sources, results = results, sources
            is_other = self._kind(operator) == SHAPE or (not backwards and self._is_lookup(operator))
            if is_other or not tensors & sources:
                continue
            result.append(operator)
            if self._kind(operator) not in LAYERS:
                tensors = tensors | results
        return result

    def remove_round_trips(self) -> None:
        """Removes each pair of operations that turns float32 into int8 and back.

        TensorFlow's converter leaves some of them between operations that stay float32, where they only round. If a
        calibrated range is undefined because of a NaN, they even turn everything into zeros.
        """
        sources = {
            operator.outputs[0]: operator.inputs[0]
            for operator in self._graph.operators
            if self._kind(operator) == "QUANTIZE" and self._is_float32(operator.inputs[0])
        }
        trips = [
            operator
            for operator in self._graph.operators
            if self._kind(operator) == "DEQUANTIZE" and operator.inputs[0] in sources
        ]
        replaced = {operator.outputs[0]: sources[operator.inputs[0]] for operator in trips}
        self._graph.operators = [operator for operator in self._graph.operators if operator not in trips]
        for operator in self._graph.operators:
            operator.inputs = [replaced.get(place, place) for place in operator.inputs]
        read = {place for operator in self._graph.operators for place in operator.inputs}
        self._graph.operators = [
            operator
            for operator in self._graph.operators
            if not set(operator.outputs) & set(sources) or set(operator.outputs) & read
        ]
        self._graph.outputs = [replaced.get(place, place) for place in self._graph.outputs]
        for tensor in self._model.signatureDefs[0].outputs:
            tensor.tensorIndex = replaced.get(tensor.tensorIndex, tensor.tensorIndex)

    def halve_weights(self) -> int:
        """Stores the weights of layers and of tables of embeddings as float16, and returns the number of these arrays.

        Weights beyond the range of float16 stay as they are, for example those of a last layer with large outputs. So
        do vectors: they are small, and the numbers that columns are scaled with are among them.
        """
        places = {
            place
            for operator in self._graph.operators
            if self._kind(operator) in LAYERS or self._is_lookup(operator)
            for place in operator.inputs
            if place >= 0 and self._can_be_halved(place)
        }
        for place in sorted(places):
            self._halve(place)
        return len(places)

    def _can_be_halved(self, place: int) -> bool:
        is_matrix = self._is_float32(place) and len(self._graph.tensors[place].shape) > 1
        return is_matrix and self._is_constant(place) and self._fits_into_float16(place)

    def _fits_into_float16(self, place: int) -> bool:
        return bool(np.abs(self._values(place)).max(initial=0.0) <= np.finfo("float16").max)

    def _halve(self, place: int) -> None:
        """Stores a constant as float16, and adds an operation that converts it back to float32."""
        tensor = self._graph.tensors[place]
        buffer = schema.BufferT()
        buffer.data = self._values(place).astype("float16").view("uint8")
        self._model.buffers.append(buffer)
        half = schema.TensorT()
        half.name, half.shape, half.type = tensor.name + b"/float16", tensor.shape, schema.TensorType.FLOAT16
        half.buffer = len(self._model.buffers) - 1
        self._graph.tensors.append(half)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(schema.BuiltinOperator.DEQUANTIZE, version=DEQUANTIZE_VERSION)
        operator.inputs, operator.outputs = [len(self._graph.tensors) - 1], [place]
        self._graph.operators.insert(0, operator)
        if sum(each.buffer == tensor.buffer for graph in self._model.subgraphs for each in graph.tensors) == 1:
            self._model.buffers[tensor.buffer].data = None
        tensor.buffer = 0  # which is empty

    def _code(self, builtin: int, *, version: int) -> int:
        """Returns the place of an operation in the file's list of operations, after adding it if it isn't there."""
        codes = self._model.operatorCodes
        for place, code in enumerate(codes):
            if code.builtinCode == builtin and code.version >= version:
                return place
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = version
        codes.append(code)
        return len(codes) - 1

    def _is_lookup(self, operator: Any) -> bool:
        table = LOOKUPS.get(self._kind(operator))
        return table is not None and self._is_constant(operator.inputs[table])

    def _is_float32(self, place: int) -> bool:
        return bool(self._graph.tensors[place].type == schema.TensorType.FLOAT32)

    def _is_constant(self, place: int) -> bool:
        data = self._model.buffers[self._graph.tensors[place].buffer].data
        return data is not None and len(data) > 0

    def _values(self, place: int) -> np.ndarray:
        """Returns the numbers of a constant of float32, (N,)."""
        data = self._model.buffers[self._graph.tensors[place].buffer].data
        return np.frombuffer(np.asarray(data, "uint8").tobytes(), "<f4")

    def _kind(self, operator: Any) -> str:
        return str(flatbuffer_utils.opcode_to_name(self._model, operator.opcodeIndex))
