"""Quantizes a model for LiteRT: its weights become smaller, and with int8 its layers compute in whole numbers.

A table's columns are scaled in float32 whichever way is chosen: float16 and int8 can't hold their raw numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfrun.engine.inference.exporting.litert import converter_of, name_columns
from tfrun.engine.inference.exporting.litert_graph import Graph
from tfrun.engine.inference.exporting.portable import tensor_names_of


def write_quantized(
    model: keras.Model, path: Path, *, kind: str, rows: Mapping[str, np.ndarray], cells: Collection[str]
) -> None:
    """Writes a quantized `.tflite` file.

    Args:
        model: of raw rows.
        path: the file.
        kind: `dynamic`, int8 weights of layers, which compute in float32; `float16`, weights in float16; or `int8`,
            layers compute in int8, all but those that read a table's cells and those that give the outputs.
        rows: raw rows by column, whose values int8 is scaled by.
        cells: the columns that are a table's cells; the others are arrays.

    Raises:
        ExportError: the model needs float64 or half precision.
        ValueError: there is nothing to quantize. A converter raises errors of other kinds too.
    """
    names = tensor_names_of(model)
    with converter_of(model) as converter:
        if kind == "float16":
            content = _in_float16(converter.convert())
        else:
            nodes = (
                Graph(converter.convert()).nodes_in_float32([names[name] for name in cells]) if kind == "int8" else []
            )
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if kind == "dynamic":
                content = converter.convert()
            else:
                content = _in_int8(converter, {names[name]: values for name, values in rows.items()}, nodes=nodes)
    path.write_bytes(content)
    name_columns(path, model)


def _in_float16(content: bytes) -> bytes:
    """Returns a file with float16 weights. TensorFlow's converter would make float16 of every constant."""
    graph = Graph(content)
    if not graph.halve_weights():
        raise ValueError("it has no weights that float16 could hold")
    return graph.content


def _in_int8(converter: tf.lite.TFLiteConverter, rows: Mapping[str, np.ndarray], *, nodes: list[str]) -> bytes:
    """Returns a file that computes in int8, except in the given nodes; rows are by the name of their tensor."""

    def one_by_one() -> Iterator[dict[str, np.ndarray]]:
        for k in range(len(next(iter(rows.values())))):
            yield {name: values[k : k + 1] for name, values in rows.items()}

    converter.representative_dataset = one_by_one
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=nodes)
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=one_by_one, debug_options=options
    )
    graph = Graph(bytes(debugger.get_nondebug_quantized_model()))
    graph.remove_round_trips()
    return graph.content
