"""The variables of a SavedModel, read as arrays: its graph isn't loaded, and nothing of it runs."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrun.errors import private_imports
from tfrun.files.weights.source import BY_PATH, StoredArray, readable

# TensorFlow doesn't export the message that says which variable each array of a checkpoint is.
with private_imports("TensorFlow"):
    from tensorflow.core.protobuf import trackable_object_graph_pb2

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE = "VARIABLE_VALUE"
KIND = "a SavedModel"


def read(path: Path) -> list[StoredArray]:
    """Returns the arrays of a SavedModel's variables, by the variables' names.

    Raises:
        CheckpointError: its files are damaged.
    """
    with readable(path, KIND):
        reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
        graph = trackable_object_graph_pb2.TrackableObjectGraph()
        graph.ParseFromString(reader.get_tensor(OBJECT_GRAPH))
        shapes, types = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        keys = {
            attribute.checkpoint_key: attribute.full_name
            for node in graph.nodes
            for attribute in node.attributes
            if attribute.name == VALUE and attribute.checkpoint_key in shapes
        }
        return [
            StoredArray(
                {BY_PATH: name or key.partition("/.ATTRIBUTES")[0]},
                tuple(shapes[key]),
                types[key].name,
                functools.partial(_read, path, reader, key),
            )
            for key, name in keys.items()
            if types[key].is_floating or types[key].is_integer or types[key].is_bool
        ]


def _read(path: Path, reader: Any, key: str) -> np.ndarray:
    with readable(path, KIND):
        return np.asarray(reader.get_tensor(key))
