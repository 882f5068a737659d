"""The format `litert`, for LiteRT, which was called TensorFlow Lite."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfrun.data.kinds import CategoryColumn, OrderedColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.engine.inference.exporting import saved_model
from tfrun.engine.inference.exporting.format import Format, refuse_float64, refuse_half_precision
from tfrun.engine.inference.exporting.frozen_graph import unrolled
from tfrun.engine.inference.exporting.names import rename, rename_litert
from tfrun.engine.inference.exporting.portable import tensor_names_of
from tfrun.errors import ConfigError

LOADER = """
from ai_edge_litert.interpreter import Interpreter
run = Interpreter(model_path=path).get_signature_runner()
def predict(rows):
    return run(**{"self_" if name == "self" else name: values for name, values in rows.items()})
"""


def write(model: keras.Model, path: Path) -> None:
    """Writes a `.tflite` file. Raises ExportError if it needs float64 or half precision, which LiteRT hardly has."""
    with converter_of(model) as converter:
        path.write_bytes(converter.convert())
    name_columns(path, model)


@contextlib.contextmanager
def converter_of(model: keras.Model) -> Iterator[Any]:
    """Yields TensorFlow's converter of a model of raw rows, whose inputs have the tensors' names.

    Raises:
        ExportError: the model needs float64 or half precision.
    """
    refuse_float64("litert", model)
    refuse_half_precision("litert", model)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*Warning: tf\.lite")  # recommends another package
        with unrolled(model):  # LiteRT's own operations can't run the loops of recurrent layers
            saved_model.save(model, Path(folder), names_output=True)
        yield tf.lite.TFLiteConverter.from_saved_model(folder)


def name_columns(path: Path, model: keras.Model) -> None:
    """Gives the inputs of a converted model the columns' names."""
    rename(rename_litert, path, names=tensor_names_of(model))


def refuse(preprocessing: Preprocessing) -> None:
    """Raises ConfigError if there are columns of texts that LiteRT has no operations for."""
    text = [
        f"{column.name} ({column.kind.name})"
        for column in preprocessing.columns
        if column.is_text and not isinstance(column, CategoryColumn | OrderedColumn)
    ]
    if text:
        raise ConfigError(
            "format=litert: of texts, it can look up categories, but not hash, split or lower them, nor read dates. "
            f"Received text columns: {', '.join(text)}. Use saved_model or keras"
        )


FORMAT = Format("litert", write, LOADER, modules=("ai_edge_litert",), refuse=refuse)
