"""The format `onnx`, for ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import keras

from tfrun.data.preprocessing import Preprocessing
from tfrun.engine import private
from tfrun.engine.inference.exporting.format import Format, refuse_several_outputs, refuse_text
from tfrun.engine.inference.exporting.names import rename_onnx
from tfrun.engine.inference.exporting.portable import function_of

LOADER = """
import onnxruntime
session = onnxruntime.InferenceSession(path)
outputs = session.run(None, {name + ":0": values for name, values in rows.items()})[0]
"""


def write(model: keras.Model, path: Path) -> None:
    """Writes an ONNX file whose inputs have the columns' names; Keras' own export makes inputs of constants too."""
    import tf2onnx

    frozen = private.freeze_variables(function_of(model).get_concrete_function())
    inputs = [tensor.name for tensor in frozen.inputs]
    onnx, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(), input_names=inputs, output_names=[tensor.name for tensor in frozen.outputs]
    )
    rename_onnx(onnx, dict(zip(inputs, sorted(model.input), strict=True)))  # TensorFlow sorts the keys of mappings
    path.write_bytes(onnx.SerializeToString())


def refuse(preprocessing: Preprocessing) -> None:
    """Raises ConfigError if there are columns of texts or several targets."""
    refuse_text("onnx", preprocessing)
    refuse_several_outputs("onnx", preprocessing)


FORMAT = Format("onnx", write, LOADER, modules=("tf2onnx", "onnxruntime"), refuse=refuse)
