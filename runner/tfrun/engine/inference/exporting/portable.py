"""A run's model as one that takes raw rows, which every format is written from."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.data import layers as column_layers
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget, main_output, of_output
from tfrun.engine.inference.exporting import ids
from tfrun.engine.inference.exporting.names import tensor_names
from tfrun.protocols import MAIN_OUTPUT


def portable(
    model: keras.Model,
    preprocessing: Preprocessing,
    *,
    has_targets: bool = True,
    of_ids: bool = False,
    name: str = "portable",
) -> keras.Model:
    """Returns a model of raw rows.

    Its inputs are the data's columns by name: numbers (B, 1) float32 with nan for empty, text (B, 1) strings with ""
    for empty, arrays (B, …) float32; for windows of a series the numbers of each, (B, length). It gives predictions in
    the target's own unit, (B, 1) or (B, horizon), or the probability of each class, (B, K); for several targets a
    mapping of such outputs.

    Args:
        model: trained.
        preprocessing: fitted on the run's training rows.
        has_targets: whether the model predicts the data's target.
        of_ids: whether its inputs are, in place of texts, their ids or numbers, see `ids.encodings`.
        name: the name of the model.
    """
    with column_layers.dtype_policy(keras.config.floatx()):  # raw numbers have more digits than half precision holds
        names = tensor_names(column.name for column in preprocessing.columns)
        make = functools.partial(_portable, model, preprocessing, has_targets=has_targets, of_ids=of_ids, name=name)
        try:
            return make(names)
        except ValueError as error:
            if "names should be unique" not in str(error):
                raise
        # a column has the name of a layer, for example `concatenate`
        return make({name: f"in_{k}" for k, name in enumerate(names)})


def _portable(
    model: keras.Model,
    preprocessing: Preprocessing,
    names: Mapping[str, str],
    *,
    has_targets: bool,
    of_ids: bool,
    name: str,
) -> keras.Model:
    rows = {}
    for column in preprocessing.columns:
        shape, dtype = preprocessing.raw_shape(column), column.raw_dtype(keras.config.floatx())
        if of_ids and column.is_text:
            shape, dtype = ids.encoded_cells(column, shape)
        rows[column.name] = keras.Input(shape, dtype=dtype, name=names[column.name])
    outputs = model(column_layers.encode_tensors(rows, preprocessing), training=False)
    y = {
        output: _in_unit(of_output(outputs, output), target) if has_targets else of_output(outputs, output)
        for output, target in preprocessing.targets.items()
    }
    with warnings.catch_warnings():
        # not every column's name may be a tensor's
        warnings.filterwarnings("ignore", "When providing `inputs` as a dict, all keys")
        return keras.Model(rows, y if len(y) > 1 else main_output(y), name=name)


def _in_unit(y: Any, target: FittedTarget) -> Any:
    """Returns a Keras tensor of predictions or probabilities."""
    if target.task == "regression":
        # of a run of an earlier version too: its metrics are float32, but what it predicts is not
        dtype = "float64" if target.scale.is_far else keras.config.floatx()
        # arrays, since Keras makes a float32 of a Python number before it becomes a float64. They have an axis: one
        # without any is a Python number again once it has been saved and loaded
        scale, offset = (np.array([value], dtype) for value in (target.standard_deviation, target.mean))
        return keras.layers.Rescaling(scale, offset, dtype=dtype)(y)
    if target.num_outputs > 1:
        return keras.layers.Softmax()(y)
    p = keras.layers.Activation("sigmoid")(y)
    return keras.layers.Concatenate(axis=1)([1.0 - p, p])


def tensor_names_of(model: keras.Model) -> dict[str, str]:
    """Returns the name of each column's tensor in a model of raw rows."""
    return {column: tensor.name for column, tensor in model.input.items()}


def function_of(model: keras.Model, *, names_output: bool = False) -> Any:
    """Returns a function of the rows by column, to be saved.

    Args:
        model: of raw rows.
        names_output: whether a single output has its name too, `output`, as several have.
    """
    rows = {name: tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name) for name, tensor in model.input.items()}

    def predict(rows: Any) -> Any:
        outputs = model(rows, training=False)
        return {MAIN_OUTPUT: outputs} if names_output and not isinstance(outputs, dict) else outputs

    return tf.function(predict, [rows], autograph=False)


def raw_rows(columns: Mapping[str, Any], preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Returns the rows of a table's columns, or windows of them, as `portable` takes them."""
    floatx = keras.config.floatx()
    return {
        column.name: column.raw(columns[column.name].reshape(-1), floatx).reshape(columns[column.name].shape)
        if preprocessing.window is not None
        else column.raw(columns[column.name], floatx)
        for column in preprocessing.columns
    }


def inputs_of(preprocessing: Preprocessing, *, of_ids: bool = False) -> dict[str, str]:
    """Returns the inputs of `portable` by name: type, shape and the value of an empty cell, for a person."""
    floatx = keras.config.floatx()
    inputs = {column.name: preprocessing.raw_type(column, floatx) for column in preprocessing.columns}
    for column in preprocessing.columns:
        if of_ids and column.is_text:
            shape, dtype = ids.encoded_cells(column, preprocessing.raw_shape(column))
            stand_for = "ids" if dtype == "int32" else "numbers"
            inputs[column.name] = f"{dtype} (batch, {', '.join(map(str, shape))}), {stand_for} in place of texts"
    return inputs
