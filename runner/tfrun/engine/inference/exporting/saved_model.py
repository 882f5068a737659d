"""The format `saved_model`: TensorFlow's own, which holds everything."""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

from tfrun.data.preprocessing import Preprocessing
from tfrun.engine import private
from tfrun.engine.inference.exporting.format import Format
from tfrun.engine.inference.exporting.names import rename, rename_signature
from tfrun.engine.inference.exporting.portable import function_of, tensor_names_of

LOADER = """
import importlib
import tensorflow as tf
for module in modules:
    importlib.import_module(module)
model = tf.saved_model.load(path)
def predict(rows):
    return model.serve({name: tf.constant(values) for name, values in rows.items()})
"""


def write(model: keras.Model, path: Path) -> None:
    """Writes a SavedModel with one function, `serve`, of the rows by column."""
    save(model, path)
    rename(rename_signature, path, names=tensor_names_of(model))


def save(model: keras.Model, path: Path, *, names_output: bool = False) -> None:
    """Writes a SavedModel whose signature has the tensors' names; see `function_of`."""
    module = tf.Module()
    # what the function uses has to be named; Keras' own export leaves the tables of text columns out
    layers = private.layers_of(model)
    metrics = [metric for layer in layers for metric in private.own_metrics(layer)]
    module.parts = [variable.value for part in (model, *metrics) for variable in part.variables]
    module.tables = [layer.lookup_table for layer in layers if hasattr(layer, "lookup_table")]
    module.serve = function_of(model, names_output=names_output)
    tf.saved_model.save(module, str(path), signatures=module.serve)


def imports(preprocessing: Preprocessing) -> list[str]:
    """Returns the modules that have to be imported before a SavedModel is loaded: those of its operations."""
    return ["tensorflow_text"] if any(column.tokenizer is not None for column in preprocessing.tokens) else []


FORMAT = Format("saved_model", write, LOADER, imports=imports)
