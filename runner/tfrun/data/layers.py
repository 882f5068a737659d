"""The Keras layers of fitted columns: what turns raw cells into a model's inputs, in a table and in an exported model.

This module and `encode.py` are the only ones of `data/` that need TensorFlow.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfrun.components.layers.impute import Impute
from tfrun.data.kinds import CategoryColumn, HashedColumn, NumberColumn, NumberInput, TokensColumn
from tfrun.data.preprocessing import Preprocessing


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Makes Keras layers in another precision than the run's."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def numbers_model(columns: Sequence[NumberInput]) -> keras.Model:
    """Returns a model from (B, num_columns) raw numbers, nan for empty, to the same imputed and standardized.

    It has full precision: raw numbers have more digits than half precision holds. If a column needs float64, the model
    takes float64, and computes only such columns in it: the numbers of the others don't depend on what is beside them.
    """
    floatx = keras.config.floatx()
    near, far = ([k for k, column in enumerate(columns) if column.needs_float64 is needs] for needs in (False, True))
    with dtype_policy(floatx):
        numbers = keras.Input((len(columns),), dtype="float64" if far else None)
        if not far:
            return keras.Model(numbers, _standardized(numbers, columns))
        parts = [_standardized_in_float64(keras.ops.take(numbers, far, axis=1), [columns[k] for k in far])]
        if near:
            cells = keras.ops.cast(keras.ops.take(numbers, near, axis=1), floatx)
            parts.insert(0, _standardized(cells, [columns[k] for k in near]))
        together = keras.ops.concatenate(parts, axis=1)
        places = [[*near, *far].index(k) for k in range(len(columns))]
        return keras.Model(numbers, keras.ops.take(together, places, axis=1))


def _standardized(numbers: Any, columns: Sequence[NumberInput]) -> Any:
    """Returns Keras tensors."""
    standardize = keras.layers.Normalization(
        mean=np.array([column.mean for column in columns]),
        variance=np.array([1.0 if column.exact and column.is_constant else column.variance for column in columns]),
    )
    return standardize(Impute([column.median for column in columns])(numbers))


def _standardized_in_float64(numbers: Any, columns: Sequence[NumberInput]) -> Any:
    """Returns Keras tensors of floatx; what comes before the last cast is float64."""
    cells = Impute([column.median for column in columns], dtype="float64")(numbers)
    # arrays, since Keras makes a float32 of a Python number before it becomes a float64
    centred = keras.layers.Rescaling(1.0, np.array([-column.mean for column in columns]), dtype="float64")(cells)
    scaled = keras.layers.Rescaling(np.array([1.0 / column.divisor for column in columns]), dtype="float64")(centred)
    return keras.ops.cast(scaled, keras.config.floatx())


def number_tensors(column: NumberColumn, cells: Any) -> list[Any]:
    """Returns a column's inputs before they are standardized, (B, 1) each, of its raw cells, Keras tensors."""
    return [cells]


def categories_model(columns: Sequence[CategoryColumn | HashedColumn]) -> keras.Model:
    """Returns a model from (B, num_columns) strings to their ids, (B, num_columns) int32."""
    text = keras.Input((len(columns),), dtype="string")
    return keras.Model(text, look_up(columns, [text[:, k : k + 1] for k in range(len(columns))]))


def tokens_model(column: TokensColumn) -> keras.Model:
    """Returns a model from (B, 1) strings to the ids of their words, (B, length) int32."""
    text = keras.Input((1,), dtype="string")
    return keras.Model(text, look_up_words(column, text))


def look_up(columns: Sequence[CategoryColumn | HashedColumn], cells: Sequence[Any]) -> Any:
    """Returns the ids, (B, num_columns) int32, of columns of texts, each a Keras tensor (B, 1) of strings."""
    layers = [
        keras.layers.StringLookup(vocabulary=list(column.values), num_oov_indices=1)
        if isinstance(column, CategoryColumn)
        else keras.layers.Hashing(column.num_ids, mask_value="")
        for column in columns
    ]
    ids = [keras.ops.cast(layer(texts), "int32") for layer, texts in zip(layers, cells, strict=True)]
    return keras.ops.concatenate(ids, axis=1)


def look_up_words(column: TokensColumn, cells: Any) -> Any:
    """Returns the ids, (B, length) int32, of the words of texts, a Keras tensor (B, 1) of strings."""
    split = keras.layers.TextVectorization(
        standardize=None, output_sequence_length=column.length, vocabulary=list(column.words)
    )
    return keras.ops.cast(split(cells), "int32")


def encode_tensors(cells: Mapping[str, Any], preprocessing: Preprocessing) -> Any:
    """Returns a model's inputs, as Keras tensors.

    Args:
        cells: raw rows by column, Keras tensors: numbers (B, 1) with nan for empty, texts (B, 1), arrays (B, ...).
        preprocessing: fitted on training rows.
    """
    inputs = {preprocessing.input_name(column): cells[column.name] for column in preprocessing.arrays}
    numbers = [tensor for column in preprocessing.numbers for tensor in number_tensors(column, cells[column.name])]
    if numbers:
        model = numbers_model(preprocessing.number_inputs)
        dtype = model.input.dtype
        numbers = [column if column.dtype == dtype else keras.ops.cast(column, dtype) for column in numbers]
        together = keras.layers.Concatenate(axis=1, dtype=dtype)(numbers) if len(numbers) > 1 else numbers[0]
        inputs["numbers"] = model(together)
    categories = preprocessing.categories
    if categories:
        inputs["categories"] = look_up(categories, [cells[column.name] for column in categories])
    for column in preprocessing.tokens:
        inputs[preprocessing.input_name(column)] = look_up_words(column, cells[column.name])
    return bare_if_alone(inputs, preprocessing)


def bare_if_alone(inputs: dict[str, Any], preprocessing: Preprocessing) -> Any:
    """Returns the inputs, or a single array column without its name."""
    return next(iter(inputs.values())) if len(inputs) == 1 and preprocessing.arrays else inputs
