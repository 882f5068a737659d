"""The format `litert`, for LiteRT, which was called TensorFlow Lite."""

from __future__ import annotations

from pathlib import Path

import keras

from tfrun.data.preprocessing import Preprocessing
from tfrun.engine.inference.exporting.format import Format, refuse_float64, refuse_several_outputs, refuse_text
from tfrun.engine.inference.exporting.frozen_graph import unrolled
from tfrun.engine.inference.exporting.names import rename, rename_litert
from tfrun.engine.inference.exporting.portable import tensor_names_of

LOADER = """
from ai_edge_litert.interpreter import Interpreter
run = Interpreter(model_path=path).get_signature_runner()
def predict(rows):
    rows = {"self_" if name == "self" else name: values for name, values in rows.items()}
    return next(iter(run(**rows).values()))
"""


def write(model: keras.Model, path: Path) -> None:
    """Writes a `.tflite` file. Raises ExportError if it needs float64: LiteRT hardly computes with it."""
    refuse_float64("litert", model)
    with unrolled(model):  # LiteRT's own operations can't run the loops of recurrent layers
        model.export(path, format="litert", verbose=False)
    rename(rename_litert, path, names=tensor_names_of(model))


def refuse(preprocessing: Preprocessing) -> None:
    """Raises ConfigError if there are columns of texts or several targets."""
    refuse_text("litert", preprocessing)
    refuse_several_outputs("litert", preprocessing)


FORMAT = Format("litert", write, LOADER, modules=("ai_edge_litert",), refuse=refuse)
