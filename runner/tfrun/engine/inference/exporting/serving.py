"""The format `serving`: a SavedModel as TensorFlow Serving loads it, which has neither Python nor Keras."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfrun.engine.inference.exporting import saved_model, serving_requests
from tfrun.engine.inference.exporting.format import Format
from tfrun.engine.inference.exporting.names import rename, rename_signature
from tfrun.engine.inference.exporting.portable import tensor_names_of

EXTRA = "assets.extra"  # where TensorFlow Serving looks for warm-up requests; it ignores other files there
WARMUP = f"{EXTRA}/tf_serving_warmup_requests"
REQUEST = f"{EXTRA}/request.json"

# As a server does it: the graph of a tag, fed by the names of tensors that the signature has.
LOADER = """
if not modules:
    sys.modules["keras"] = None  # which a server lacks
import importlib
import tensorflow as tf
for module in modules:
    importlib.import_module(module)
session = tf.compat.v1.Session(graph=tf.Graph())
with session.graph.as_default():
    loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], path)
signature = loaded.signature_def["serving_default"]
fetched = {name: tensor.name for name, tensor in signature.outputs.items()}
def predict(rows):
    return session.run(fetched, {signature.inputs[name].name: values for name, values in rows.items()})
"""


def write(model: keras.Model, path: Path) -> None:
    """Writes a SavedModel whose signature has the columns' names and the outputs' names."""
    saved_model.save(model, path, names_output=True)
    rename(rename_signature, path, names=tensor_names_of(model))


def add_requests(path: Path, rows: Mapping[str, np.ndarray]) -> None:
    """Writes the requests that a server warms up with, and one that a person can send.

    Args:
        path: the folder of the version.
        rows: raw rows by column.
    """
    (path / EXTRA).mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path / WARMUP)) as records:
        for log in serving_requests.prediction_logs(rows):
            records.write(log)
    (path / REQUEST).write_text(serving_requests.request_json(rows))


FORMAT = Format("serving", write, LOADER, imports=saved_model.imports, accompany=add_requests)
