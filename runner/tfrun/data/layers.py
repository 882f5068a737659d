"""The Keras layers of fitted columns: what turns raw cells into a model's inputs, in a table and in an exported model.

This module and `encode.py` are the only ones of `data/` that need TensorFlow.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from tfrun.components.layers.impute import Impute
from tfrun.components.layers.preset_tokens import PresetTokens
from tfrun.components.layers.raw_cells import Cycles, Dates, HashedWords, Quantiles, TextNumbers
from tfrun.config.date_formats import DateFormat
from tfrun.data.kinds import (
    ArrayColumn,
    BooleanColumn,
    CategoryColumn,
    Column,
    DateColumn,
    IdColumn,
    ImageColumn,
    NumberInput,
    NumericColumn,
    OrderedColumn,
    TokensColumn,
)
from tfrun.data.kinds.boolean import SPELLINGS
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
    groups: dict[tuple[bool, bool], list[int]] = {}  # (in float64, by quantiles) -> the places of its columns
    for k, column in enumerate(columns):
        groups.setdefault((column.needs_float64, bool(column.quantiles)), []).append(k)
    has_far = any(is_far for is_far, _ in groups)
    with dtype_policy(floatx):
        numbers = keras.Input((len(columns),), dtype="float64" if has_far else None)
        if len(groups) == 1 and not has_far:
            return keras.Model(numbers, _scaled(numbers, columns))
        parts = []
        for (is_far, _), places in sorted(groups.items()):
            cells = keras.ops.take(numbers, places, axis=1)
            cells = cells if is_far or not has_far else keras.ops.cast(cells, floatx)
            of_group = [columns[k] for k in places]
            parts.append(_scaled_in_float64(cells, of_group) if is_far else _scaled(cells, of_group))
        together = keras.ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        order = [k for _, places in sorted(groups.items()) for k in places]
        return keras.Model(numbers, keras.ops.take(together, np.argsort(order), axis=1))


def _scaled(numbers: Any, columns: Sequence[NumberInput]) -> Any:
    """Returns the numbers, Keras tensors (B, num_columns), filled and scaled: all of them by quantiles, or none."""
    if columns[0].quantiles:
        filled = Impute([column.median for column in columns])(numbers)
        return Quantiles([column.quantiles for column in columns])(filled)
    standardize = keras.layers.Normalization(
        mean=np.array([column.mean for column in columns]),
        variance=np.array([1.0 if column.exact and column.is_constant else column.variance for column in columns]),
    )
    return standardize(Impute([column.median for column in columns])(numbers))


def _scaled_in_float64(numbers: Any, columns: Sequence[NumberInput]) -> Any:
    """Returns the same as `_scaled`, of floatx; what comes before the last cast is float64."""
    cells = Impute([column.median for column in columns], dtype="float64")(numbers)
    if columns[0].quantiles:
        by_quantiles = Quantiles([column.quantiles for column in columns], dtype="float64")(cells)
        return keras.ops.cast(by_quantiles, keras.config.floatx())
    # arrays, since Keras makes a float32 of a Python number before it becomes a float64
    centred = keras.layers.Rescaling(1.0, np.array([-column.mean for column in columns]), dtype="float64")(cells)
    scaled = keras.layers.Rescaling(np.array([1.0 / column.divisor for column in columns]), dtype="float64")(centred)
    return keras.ops.cast(scaled, keras.config.floatx())


def number_tensors(column: NumericColumn, cells: Any) -> list[Any]:
    """Returns a column's inputs before they are scaled, (B, 1) each, of its raw cells, Keras tensors.

    Numbers in place of the texts of a column with `numbers_of_texts` stay as they are.
    """
    if isinstance(column, BooleanColumn | OrderedColumn):
        numbers = numbers_of_texts(column)
        return [TextNumbers(*numbers)(cells) if numbers is not None and is_text(cells) else cells]
    if isinstance(column, DateColumn):
        format = DateFormat.of(column.format)
        seconds = Dates(format.pattern, format.parts)(cells)
        if not column.cycles:
            return [seconds]
        circles = Cycles(list(column.cycles))(seconds)
        return [seconds, *(circles[:, k : k + 1] for k in range(2 * len(column.cycles)))]
    if column.indicator:
        return [cells, keras.ops.cast(keras.ops.isnan(cells), keras.config.floatx())]
    return [cells]


def numbers_of_texts(column: Column) -> tuple[dict[str, float], bool] | None:
    """Returns the number that each text of a column stands for, and whether capital letters count as small ones.

    It is None for a column of other cells.
    """
    if isinstance(column, BooleanColumn) and column.is_text:
        return SPELLINGS, True
    if isinstance(column, OrderedColumn):
        return {text: float(k) for k, text in enumerate(column.values)}, False
    return None


def is_text(cells: Any) -> bool:
    """Returns whether raw cells, a Keras tensor, are texts, and not the ids or numbers that stand for them."""
    return bool(cells.dtype == "string")


def array_tensor(column: ArrayColumn, cells: Any) -> Any:
    """Returns an array as the model gets it, of raw cells, Keras tensors."""
    if isinstance(column, ImageColumn) and column.is_scaled:
        return keras.layers.Rescaling(column.factors, column.offsets)(cells)
    return cells


def categories_model(columns: Sequence[IdColumn]) -> keras.Model:
    """Returns a model from (B, num_columns) strings to their ids, (B, num_columns) int32."""
    text = keras.Input((len(columns),), dtype="string")
    return keras.Model(text, look_up(columns, [text[:, k : k + 1] for k in range(len(columns))]))


def tokens_model(column: TokensColumn) -> keras.Model:
    """Returns a model from (B, 1) strings to the ids of their words, (B, length) int32."""
    text = keras.Input((1,), dtype="string")
    return keras.Model(text, look_up_words(column, text))


def look_up(columns: Sequence[IdColumn], cells: Sequence[Any]) -> Any:
    """Returns the ids, (B, num_columns) int32, of columns of texts: Keras tensors (B, 1) of strings, or of ids."""
    ids = []
    for column, texts in zip(columns, cells, strict=True):
        if not is_text(texts):
            ids.append(texts)
            continue
        layer = (
            keras.layers.StringLookup(vocabulary=list(column.values), num_oov_indices=1)
            if isinstance(column, CategoryColumn)
            else keras.layers.Hashing(column.num_ids, mask_value="")
        )
        ids.append(keras.ops.cast(layer(texts), "int32"))
    return keras.ops.concatenate(ids, axis=1)


def look_up_words(column: TokensColumn, cells: Any) -> Any:
    """Returns the ids, (B, length) int32, of the words of texts, a Keras tensor (B, 1) of strings; ids stay."""
    if not is_text(cells):
        return cells
    if column.tokenizer is not None:
        tokenizer = column.tokenizer.load(where=f"data: the tokenizer of column {column.name!r}")
        return PresetTokens(tokenizer, column.length)(cells)
    if column.bins is not None:
        return HashedWords(column.bins, column.length)(cells)
    split = keras.layers.TextVectorization(
        standardize=None, output_sequence_length=column.length, vocabulary=list(column.words)
    )
    return keras.ops.cast(split(cells), "int32")


def encode_tensors(cells: Mapping[str, Any], preprocessing: Preprocessing) -> Any:
    """Returns a model's inputs, as Keras tensors.

    Args:
        cells: raw rows by column, Keras tensors: numbers (B, 1) with nan for empty, texts (B, 1), arrays (B, ...); if
            the examples are windows of a series, the cells of these, (B, length). In place of texts there may be ids,
            int32, (B, 1) or for words (B, length), or the numbers that they stand for.
        preprocessing: fitted on training rows.
    """
    window = preprocessing.window
    if window is not None:
        rows = {name: keras.ops.reshape(tensor, (-1, 1)) for name, tensor in cells.items()}
        numbers = encode_tensors(rows, replace(preprocessing, window=None))["numbers"]
        return keras.ops.reshape(numbers, (-1, window.length, numbers.shape[-1]))
    inputs = {
        preprocessing.input_name(column): array_tensor(column, cells[column.name]) for column in preprocessing.arrays
    }
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
