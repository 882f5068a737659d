"""Encodes a whole table with the Keras layers of its fitted columns.

It needs no second copy of all rows: raw columns are released as encoded ones come, and the layers are called on a block
of rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.data.arrays import StoredArray, aligned_empty, blocks, give_back, load
from tfrun.data.kinds import IdColumn, TokensColumn
from tfrun.data.labels import label
from tfrun.data.layers import bare_if_alone, categories_model, numbers_model, tokens_model
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.data.targets import FittedTarget
from tfrun.errors import DataError
from tfrun.protocols import MAIN_OUTPUT

BLOCK_BYTES = 2**21  # of encoded rows at a time: enough for the overhead of a call of Keras' layers not to count


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
        inputs["numbers"] = _encode_numbers(table, preprocessing, dtype=dtype)
    if preprocessing.categories:
        inputs["categories"] = _encode_categories(table, preprocessing.categories)
    for column in preprocessing.tokens:
        inputs[preprocessing.input_name(column)] = _encode_tokens(table.release(column.name), column)
    return bare_if_alone(inputs, preprocessing), targets if table.others else targets[MAIN_OUTPUT]


def encode_weights(weights: np.ndarray | None) -> np.ndarray | None:
    """Returns the rows' weights, if any, as the compiled program takes them."""
    return None if weights is None else load(weights, keras.config.floatx())


def _refuse_missing(table: Table, preprocessing: Preprocessing) -> None:
    missing = [column.name for column in preprocessing.columns if column.name not in table.columns]
    if missing:
        raise DataError(
            f"{table.source}: columns are missing. Received: {', '.join(table.columns)}. Missing: {', '.join(missing)}"
        )


def _encode_numbers(table: Table, preprocessing: Preprocessing, *, dtype: str) -> np.ndarray:
    """Returns (N, num_inputs) of the given type."""
    model = numbers_model(preprocessing.number_inputs)
    numbers = [
        numbers
        for column in preprocessing.numbers
        for numbers in column.encode(table.release(column.name), dtype, source=table.source)
    ]
    return _side_by_side(numbers, lambda rows: model(tf.convert_to_tensor(rows)).numpy(), dtype=dtype)


def _encode_categories(table: Table, columns: Sequence[IdColumn]) -> np.ndarray:
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
