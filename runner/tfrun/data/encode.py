"""Encodes a whole table with the Keras layers of its fitted columns.

It needs no second copy of all rows: raw columns are released as encoded ones come, and the layers are called on a block
of rows at a time. Of columns on disk only such a block is in memory, raw and encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.data.arrays import StoredArray, aligned_empty, blocks, give_back, load
from tfrun.data.bags import Bags
from tfrun.data.id_functions import ids_of_integers, ids_of_words
from tfrun.data.integer_texts import IntegerTexts
from tfrun.data.kinds import IdColumn, TokensColumn
from tfrun.data.labels import label
from tfrun.data.layers import bare_if_alone, categories_model, numbers_model, tokens_model
from tfrun.data.lazy_texts import LazyTexts
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.sinks import PlannedSink, Sink
from tfrun.data.store import Columns, StoredColumn, Stores, StoreWriter
from tfrun.data.stored_texts import StoredTexts
from tfrun.data.table import Table
from tfrun.data.targets import FittedTarget
from tfrun.errors import DataError
from tfrun.protocols import MAIN_OUTPUT

BLOCK_BYTES = 2**21  # of encoded rows at a time: enough for the overhead of a call of Keras' layers not to count


MakeSink = Callable[[tuple[int, ...], Any], Sink]  # gets the shape and the type of the encoded rows


def encode(
    table: Table, preprocessing: Preprocessing, *, stores: Stores | None = None, digest: str = ""
) -> tuple[Any, Any]:
    """Returns the inputs and the targets of all rows, as the compiled program takes them.

    Args:
        table: the raw rows. Each column is released from it as it is encoded, see `Table.release`.
        preprocessing: fitted on training rows.
        stores: where the encoded rows of columns on disk go.
        digest: the table's fingerprint.

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
    if stores is None or not any(_is_on_disk(column) for column in table.columns.values()):
        inputs |= _encode_columns(table, preprocessing, PlannedSink)
    else:
        inputs |= _encode_on_disk(table, preprocessing, stores, digest=digest)
    return bare_if_alone(inputs, preprocessing), targets if table.others else targets[MAIN_OUTPUT]


def _is_on_disk(column: Any) -> bool:
    return isinstance(column, StoredArray) or (isinstance(column, LazyTexts) and column.is_stored)


def _encode_columns(table: Table, preprocessing: Preprocessing, make_sink: MakeSink) -> dict[str, Any]:
    """Returns the inputs that are made of columns of numbers and texts."""
    inputs: dict[str, Any] = {}
    if preprocessing.numbers:
        inputs["numbers"] = _encode_numbers(table, preprocessing, make_sink)
    if preprocessing.categories:
        inputs["categories"] = _encode_categories(table, preprocessing.categories, make_sink)
    for column in preprocessing.tokens:
        inputs[preprocessing.input_name(column)] = _encode_tokens(table.release(column.name), column, make_sink)
    return inputs


def _encode_on_disk(
    table: Table, preprocessing: Preprocessing, stores: Stores, *, digest: str
) -> dict[str, StoredArray]:
    """Returns the same inputs from a store, into which they are encoded first if they aren't there."""
    num_rows, floatx = len(table.target), keras.config.floatx()
    flat = [column for column in preprocessing.columns if column not in preprocessing.arrays]
    num_values = len(preprocessing.number_inputs) + len(preprocessing.categories)
    num_values += sum(column.length for column in preprocessing.tokens)

    def write(writer: StoreWriter) -> Columns:
        encoded = _encode_columns(table, preprocessing, lambda shape, dtype: writer.sink(dtype, row_shape=shape[1:]))
        return {name: StoredColumn(array) for name, array in encoded.items()}

    stored = stores.open(
        {"reader": "encoded", "fingerprint": digest, "preprocessing": preprocessing.to_fields(), "floatx": floatx},
        title=f"{table.source}: encoding",
        num_bytes=4 * num_rows * num_values,
        num_columns=2,
        write=write,
    )
    for column in flat:
        if column.name in table.columns:
            table.release(column.name)
    for stored_column in stored.values():
        stored_column.array.is_encoded = True
    return {name: stored_column.array for name, stored_column in stored.items()}


def encode_weights(weights: np.ndarray | None) -> np.ndarray | None:
    """Returns the rows' weights, if any, as the compiled program takes them."""
    return None if weights is None else load(weights, keras.config.floatx())


def _refuse_missing(table: Table, preprocessing: Preprocessing) -> None:
    missing = [column.name for column in preprocessing.columns if column.name not in table.columns]
    if missing:
        raise DataError(
            f"{table.source}: columns are missing. Received: {', '.join(table.columns)}. Missing: {', '.join(missing)}"
        )


def _encode_numbers(table: Table, preprocessing: Preprocessing, make_sink: MakeSink) -> np.ndarray | StoredArray:
    """Returns (N, num_inputs) floats."""
    dtype = keras.config.floatx()
    model = numbers_model(preprocessing.number_inputs)
    columns: list[Callable[[slice], list[np.ndarray]]] = []
    for column in preprocessing.numbers:
        cells = table.release(column.name)
        if _is_on_disk(cells):
            columns.append(_block_of(partial(column.encode, dtype=dtype, source=table.source), cells))
        else:
            numbers = column.encode(cells, dtype, source=table.source)
            columns.append(partial(_rows_of, numbers))
        del cells  # its numbers are all that is needed
    give_back()  # the memory of the raw columns, before there is more

    def encoded(rows: slice) -> np.ndarray:
        numbers = [values for block_of in columns for values in block_of(rows)]
        return model(tf.convert_to_tensor(np.stack(numbers, axis=1))).numpy()

    shape = (len(table.target), len(preprocessing.number_inputs))
    return _collect(encoded, shape, dtype=dtype, make_sink=make_sink)


def _block_of(encode: Callable[[np.ndarray], list[np.ndarray]], cells: Any) -> Callable[[slice], list[np.ndarray]]:
    """Returns a function that encodes some rows of a column on disk."""
    return lambda rows: encode(cells[rows])


def _rows_of(arrays: Sequence[np.ndarray], rows: slice) -> list[np.ndarray]:
    return [array[rows] for array in arrays]


def _encode_categories(table: Table, columns: Sequence[IdColumn], make_sink: MakeSink) -> np.ndarray | StoredArray:
    """Returns (N, num_columns) int32."""
    readers: dict[str, Callable[[slice], np.ndarray]] = {}  # column -> the ids of some rows, (R,) int32
    texts = []
    for column in columns:
        cells = table.columns[column.name]
        if isinstance(cells, IntegerTexts):
            readers[column.name] = _ids_of_integers(table.release(column.name), column)
            give_back()
        else:
            texts.append(column)
        del cells
    if texts:
        places, ids = _look_up_once((table.release(column.name) for column in texts), categories_model(texts))
        for k, column in enumerate(texts):
            readers[column.name] = partial(_ids_at, ids[:, k], places[k])
    give_back()

    def encoded(rows: slice) -> np.ndarray:
        return np.stack([readers[column.name](rows) for column in columns], axis=1)

    return _collect(encoded, (len(table.target), len(columns)), dtype=np.int32, make_sink=make_sink)


def _ids_at(ids: np.ndarray, places: np.ndarray | StoredArray, rows: slice) -> np.ndarray:
    return ids[places[rows]]


def _ids_of_integers(cells: IntegerTexts, column: IdColumn) -> Callable[[slice], np.ndarray]:
    """Returns a function from rows to their ids, (R,) int32; the ids of cells in memory are computed at once."""
    ids_of = ids_of_integers(column, cells.numbers.dtype)
    if cells.is_stored:
        return lambda rows: ids_of(cells.read(rows))
    ids = np.empty(len(cells), np.int32)
    for rows in blocks(cells):
        ids[rows] = ids_of(cells.read(rows))
    return ids.__getitem__


def _encode_tokens(cells: Any, column: TokensColumn, make_sink: MakeSink) -> np.ndarray | StoredArray:
    """Returns (N, length) int32."""
    if isinstance(cells, Bags):
        return _encode_bags(cells, column, make_sink)
    model = tokens_model(column)

    def encoded(rows: slice) -> np.ndarray:
        return model(tf.convert_to_tensor(cells[rows][:, None])).numpy()

    return _collect(encoded, (len(cells), column.length), dtype=np.int32, make_sink=make_sink)


def _encode_bags(cells: Bags, column: TokensColumn, make_sink: MakeSink) -> np.ndarray | StoredArray:
    """Returns (N, length) int32."""
    if isinstance(cells.flat, IntegerTexts):
        read: Callable[[np.ndarray], np.ndarray] = cells.flat.read
        ids_of = ids_of_integers(column, cells.flat.numbers.dtype)
    else:
        read, ids_of = cells.flat.codes.__getitem__, ids_of_words(column, cells.flat.values).__getitem__

    def of_some(rows: slice) -> np.ndarray:
        row_of, places = cells.places(rows)
        ids = ids_of(read(places))
        row_of, ids = row_of[ids > 0], ids[ids > 0]  # 0 stands for an empty text
        starts = np.searchsorted(row_of, np.arange(rows.stop - rows.start))
        place_in_row = np.arange(len(row_of)) - starts[row_of]
        fits = place_in_row < column.length
        bags = np.zeros((rows.stop - rows.start, column.length), np.int32)
        bags[row_of[fits], place_in_row[fits]] = ids[fits]
        return bags

    def encoded(rows: slice) -> np.ndarray:
        starts = range(rows.start, rows.stop, cells.rows_at_once)
        return np.concatenate([of_some(slice(start, min(start + starts.step, rows.stop))) for start in starts])

    return _collect(encoded, (len(cells), column.length), dtype=np.int32, make_sink=make_sink)


def _look_up_once(
    columns: Iterable[np.ndarray | StoredTexts], model: keras.Model
) -> tuple[list[np.ndarray | StoredArray], np.ndarray]:
    """Looks up each different text once, however many rows have it.

    Returns:
        For each column the place of each row's text among its different ones, (N,) int32; and the ids of the texts at
        those places, (most different texts, num_columns) int32.
    """
    places: list[np.ndarray | StoredArray] = []
    texts: list[list[str]] = []
    for column in columns:
        if isinstance(column, StoredTexts):
            places.append(column.codes)
            texts.append(column.values)
            continue
        seen: dict[str, int] = {}
        places.append(np.fromiter((seen.setdefault(text, len(seen)) for text in column), np.int32, len(column)))
        texts.append(list(seen))
    padded = np.full((max(map(len, texts)), len(texts)), "", dtype=object)
    for k, different in enumerate(texts):
        padded[: len(different), k] = different
    return places, model(tf.convert_to_tensor(padded)).numpy()


def _collect(
    encoded: Callable[[slice], np.ndarray], shape: tuple[int, int], *, dtype: Any, make_sink: MakeSink
) -> np.ndarray | StoredArray:
    """Returns (N, width): the encoded rows of all blocks, one after the other."""
    sink = make_sink(shape, dtype)
    at_once = max(1, BLOCK_BYTES // (shape[1] * np.dtype(dtype).itemsize))
    for start in range(0, shape[0], at_once):
        sink.append(encoded(slice(start, min(start + at_once, shape[0]))))
    return sink.finish()


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
        values_of_block = block.tolist()
        id_of = {value: ids.get(label(value), -1) for value in set(values_of_block)}
        block_ids = [id_of.get(value, -1) for value in values_of_block]
        if -1 in block_ids:
            row = block_ids.index(-1)
            raise DataError(
                f"{table.find(rows.start + row)[0]}: target {name!r} is a class that "
                f"the training rows don't have. Received: {block[row]!r}. "
                f"Known: {', '.join(fitted.classes[:20])}"
            )
        targets[rows, 0] = block_ids
    return targets
