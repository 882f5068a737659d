"""The format `keras`: Keras' own file, from which training can continue."""

from __future__ import annotations

from pathlib import Path

import keras

from tfrun.engine import private
from tfrun.engine.inference.exporting.format import ExportError, Format

LOADER = """
import contextlib, importlib, keras
import tensorflow as tf
for module in modules:
    with contextlib.suppress(Exception, SystemExit):
        importlib.import_module(module)
model = keras.saving.load_model(path)
def predict(rows):
    return model({name: tf.constant(values) for name, values in rows.items()}, training=False)
"""


def write(model: keras.Model, path: Path) -> None:
    """Writes a `.keras` file. Raises ExportError if it can't hold a layer."""
    if any(isinstance(layer, keras.layers.TFSMLayer) for layer in private.layers_of(model)):
        raise ExportError("format=keras: can't hold the function of a SavedModel. Use saved_model, litert or onnx")
    model.save(path)


FORMAT = Format("keras", write, LOADER, is_graph=False, needs_tfrun=True)
