"""Encodes rows with Keras layers, made from the fitted columns: a whole table, or cells inside an exported model.

The one module of `data/` that needs TensorFlow. Encoding a table needs no second copy of all rows: raw columns are
released as encoded ones come, and the layers are called on a block of rows at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.components.layers.impute import Impute
from tfrun.data.arrays import StoredArray, aligned_empty, blocks, give_back, load
from tfrun.data.columns import CategoryColumn, HashedColumn, NumberColumn, TokensColumn
from tfrun.data.labels import label
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.data.targets import FittedTarget
from tfrun.errors import DataError
from tfrun.protocols import MAIN_OUTPUT

BLOCK_BYTES = 2**21  # of encoded rows at a time: enough for the overhead of a call of Keras' layers not to count


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Makes Keras layers in another precision than the run's."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def numbers_model(columns: Sequence[NumberColumn]) -> keras.Model:
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


def _standardized(numbers: Any, columns: Sequence[NumberColumn]) -> Any:
    """Returns Keras tensors."""
    standardize = keras.layers.Normalization(
        mean=np.array([column.mean for column in columns]),
        variance=np.array([1.0 if column.exact and column.is_constant else column.variance for column in columns]),
    )
    return standardize(Impute([column.median for column in columns])(numbers))


def _standardized_in_float64(numbers: Any, columns: Sequence[NumberColumn]) -> Any:
    """Returns Keras tensors of floatx; what comes before the last cast is float64."""
    cells = Impute([column.median for column in columns], dtype="float64")(numbers)
    # arrays, since Keras makes a float32 of a Python number before it becomes a float64
    centred = keras.layers.Rescaling(1.0, np.array([-column.mean for column in columns]), dtype="float64")(cells)
    scaled = keras.layers.Rescaling(np.array([1.0 / column.divisor for column in columns]), dtype="float64")(centred)
    return keras.ops.cast(scaled, keras.config.floatx())


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
    numbers = [cells[column.name] for column in preprocessing.numbers]
    if numbers:
        model = numbers_model(preprocessing.numbers)
        dtype = model.input.dtype
        numbers = [column if column.dtype == dtype else keras.ops.cast(column, dtype) for column in numbers]
        together = keras.layers.Concatenate(axis=1, dtype=dtype)(numbers) if len(numbers) > 1 else numbers[0]
        inputs["numbers"] = model(together)
    categories = preprocessing.categories
    if categories:
        inputs["categories"] = look_up(categories, [cells[column.name] for column in categories])
    for column in preprocessing.tokens:
        inputs[preprocessing.input_name(column)] = look_up_words(column, cells[column.name])
    return _bare_if_alone(inputs, preprocessing)


def encode(table: Table, preprocessing: Preprocessing) -> tuple[Any, Any]:
    """Returns the inputs and the targets of all rows, as the compiled program takes them.

    Args:
        table: the raw rows. Each column is released from it as it is encoded, see `Table.release`.
        preprocessing: fitted on training rows.

    Raises:
        DataError: columns or labels that the preprocessing does not know.
    """
    _refuse_missing(table, preprocessing)
    targets = {
        output: _encode_target(table, name, values=target.values, fitted=preprocessing.targets[output])
        for output, (name, target) in zip(preprocessing.targets, table.targets.items(), strict=True)
    }
    dtype = keras.config.floatx()
    inputs: dict[str, np.ndarray | StoredArray] = {
        preprocessing.input_name(column): column.encode(table.release(column.name), dtype)
        for column in preprocessing.arrays
    }
    if preprocessing.numbers:
        inputs["numbers"] = _encode_numbers(table, preprocessing.numbers, dtype=dtype)
    if preprocessing.categories:
        inputs["categories"] = _encode_categories(table, preprocessing.categories)
    for column in preprocessing.tokens:
        inputs[preprocessing.input_name(column)] = _encode_tokens(table.release(column.name), column)
    return _bare_if_alone(inputs, preprocessing), targets if table.others else targets[MAIN_OUTPUT]


def encode_weights(weights: np.ndarray | None) -> np.ndarray | None:
    """Returns the rows' weights, if any, as the compiled program takes them."""
    return None if weights is None else load(weights, keras.config.floatx())


def _refuse_missing(table: Table, preprocessing: Preprocessing) -> None:
    missing = [column.name for column in preprocessing.columns if column.name not in table.columns]
    if missing:
        raise DataError(
            f"{table.source}: columns are missing. Received: {', '.join(table.columns)}. Missing: {', '.join(missing)}"
        )


def _bare_if_alone(inputs: dict[str, Any], preprocessing: Preprocessing) -> Any:
    """Returns the inputs, or a single array column without its name."""
    return next(iter(inputs.values())) if len(inputs) == 1 and preprocessing.arrays else inputs


def _encode_numbers(table: Table, columns: Sequence[NumberColumn], *, dtype: str) -> np.ndarray:
    """Returns (N, num_columns) of the given type."""
    model = numbers_model(columns)
    numbers = [column.encode(table.release(column.name), dtype, source=table.source) for column in columns]
    return _side_by_side(numbers, lambda rows: model(tf.convert_to_tensor(rows)).numpy(), dtype=dtype)


def _encode_categories(table: Table, columns: Sequence[CategoryColumn | HashedColumn]) -> np.ndarray:
    """Returns (N, num_columns) int32."""
    places, ids = _look_up_once((table.release(column.name) for column in columns), categories_model(columns))
    return _side_by_side(places, lambda rows: np.take_along_axis(ids, rows, axis=0), dtype=np.int32)


def _encode_tokens(cells: np.ndarray, column: TokensColumn) -> np.ndarray:
    """Returns (N, length) int32."""
    model = tokens_model(column)
    encoded = aligned_empty((len(cells), column.length), np.int32)
    for rows in blocks(encoded, BLOCK_BYTES):
        encoded[rows] = model(tf.convert_to_tensor(cells[rows, None])).numpy()
    return encoded


def _look_up_once(columns: Iterable[np.ndarray], model: keras.Model) -> tuple[list[np.ndarray], np.ndarray]:
    """Looks up each different text once, however many rows have it.

    Returns:
        For each column the place of each row's text among its different ones, (N,) int32; and the ids of the texts at
        those places, (most different texts, num_columns) int32.
    """
    places: list[np.ndarray] = []
    texts: list[list[str]] = []
    for column in columns:
        seen: dict[str, int] = {}
        places.append(np.fromiter((seen.setdefault(text, len(seen)) for text in column), np.int32, len(column)))
        texts.append(list(seen))
    padded = np.full((max(map(len, texts)), len(texts)), "", dtype=object)
    for k, different in enumerate(texts):
        padded[: len(different), k] = different
    return places, model(tf.convert_to_tensor(padded)).numpy()


def _side_by_side(
    columns: Sequence[np.ndarray], change: Callable[[np.ndarray], np.ndarray], *, dtype: Any
) -> np.ndarray:
    """Returns (N, num_columns): the columns beside each other, with `change` applied to each block of rows."""
    give_back()  # the memory of the raw columns, before there is more
    changed = aligned_empty((len(columns[0]), len(columns)), dtype)
    for rows in blocks(changed, BLOCK_BYTES):
        changed[rows] = change(np.stack([column[rows] for column in columns], axis=1))
    return changed


def _encode_target(table: Table, name: str, *, values: np.ndarray, fitted: FittedTarget) -> np.ndarray:
    """Returns a target as it is trained on, (N, 1). Raises DataError for a class that training rows don't have."""
    is_regression = fitted.task == "regression"
    is_float = is_regression or fitted.num_outputs == 1  # a single logit is compared with 0.0 and 1.0
    targets = aligned_empty((len(values), 1), keras.config.floatx() if is_float else np.int32)
    ids = {known: k for k, known in enumerate(fitted.classes)}
    for rows in blocks(values):
        block = values[rows]
        if is_regression:
            targets[rows, 0] = (block - fitted.mean) / fitted.standard_deviation
            continue
        block_ids = [ids.get(label(value), -1) for value in block.tolist()]
        if -1 in block_ids:
            row = block_ids.index(-1)
            raise DataError(
                f"{table.find(rows.start + row)[0]}: target {name!r} is a class that "
                f"the training rows don't have. Received: {block[row]!r}. "
                f"Known: {', '.join(fitted.classes[:20])}"
            )
        targets[rows, 0] = block_ids
    return targets
