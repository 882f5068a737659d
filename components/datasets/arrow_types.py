"""What columns of Arrow's types become: numbers, texts or arrays.

A type that a table can't hold is refused with what to do about it. Booleans, dates and times are the texts that a CSV
file would have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

INTEGER_BAG, TEXT_BAG = "bag of integers", "bag of texts"
MAX_EXACT = 2**53  # float64 has every whole number up to it


class UnusableError(Exception):
    """A column, or a cell of it, can't be used.

    Attributes:
        row: the cell's row in the block, or None for the whole column.
        remedy: what to do about it, before the override that does it, and the name of its key; or None.
    """

    def __init__(
        self, message: str, *, row: int | None = None, remedy: tuple[str, str] | None = ("Leave it out", "exclude")
    ):
        super().__init__(message)
        self.row = row
        self.remedy = remedy


@dataclass(frozen=True)
class Kind:
    """What the cells of a column become.

    Attributes:
        name: "number", "text", "array", "bag of integers" or "bag of texts", or "empty" for a column without any value,
            which fits every other kind.
        type: of the cells, or of the values in their lists.
        depth: of an array, the number of lists within each other.
        labels: the names that whole numbers stand for, if any.
    """

    name: str
    type: pa.DataType
    depth: int = 0
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, type: pa.DataType, labels: tuple[str, ...] = ()) -> Kind:
        """Returns the kind of a type. Raises UnusableError for one that no table can hold."""
        if isinstance(type, pa.BaseExtensionType):
            return cls.of(type.storage_type)
        if pa.types.is_dictionary(type):
            return cls.of(type.value_type)
        if pa.types.is_null(type):
            return cls("empty", type)
        if labels and pa.types.is_integer(type):
            return cls("text", type, labels=labels)
        if _is_number(type):
            return cls("number", type)
        if _is_text(type):
            return cls("text", type)
        depth = 0
        value = type
        while is_list(value):
            depth, value = depth + 1, value.value_type
        if depth and (_is_number(value) or pa.types.is_boolean(value)) and not pa.types.is_decimal(value):
            return cls("array", value, depth)
        raise UnusableError(
            f"no numbers, texts or arrays of numbers. Received: {_shortened(type)}. {_advice(type, value)}"
        )

    @classmethod
    def of_bag(cls, type: pa.DataType) -> Kind:
        """Returns the kind of lists of ids. Raises UnusableError if they hold neither whole numbers nor texts."""
        value = decoded_type(type.value_type)
        if pa.types.is_null(value):
            return cls("empty", value)
        if pa.types.is_integer(value) or (_is_text(value) and not pa.types.is_boolean(value)):
            return cls(INTEGER_BAG if pa.types.is_integer(value) else TEXT_BAG, value)
        raise UnusableError(f"a list of ids holds whole numbers or texts. Received: {_shortened(type)}")

    @property
    def is_bag(self) -> bool:
        """Whether the cells are bags of ids."""
        return self.name in (INTEGER_BAG, TEXT_BAG)

    def fits(self, other: Kind) -> bool:
        """Returns whether columns of two files can be one: an int32 and a float64 can, a number and a text can't."""
        if "empty" in (self.name, other.name):
            return True
        return (self.name, self.depth, self.labels) == (other.name, other.depth, other.labels)


def _is_number(type: pa.DataType) -> bool:
    return pa.types.is_integer(type) or pa.types.is_floating(type) or pa.types.is_decimal(type)


def _is_text(type: pa.DataType) -> bool:
    is_string = pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_string_view(type)
    return is_string or pa.types.is_boolean(type) or _is_time(type)


def _is_time(type: pa.DataType) -> bool:
    return pa.types.is_date(type) or pa.types.is_timestamp(type) or pa.types.is_time(type)


def is_list(type: pa.DataType) -> bool:
    """Returns whether cells are lists."""
    return pa.types.is_list(type) or pa.types.is_large_list(type) or pa.types.is_fixed_size_list(type)


def _shortened(type: pa.DataType) -> str:
    text = str(type)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _advice(type: pa.DataType, value: pa.DataType) -> str:
    if pa.types.is_struct(value) or pa.types.is_map(value):
        return "Make columns of its fields, for example with pyarrow's Table.flatten"
    if type != value and _is_text(value):
        return "Read ids as tokens, in data.text, or join the texts of a row into one"
    if pa.types.is_duration(type):
        return "Write a number of seconds"
    return "Write numbers or texts"


def decoded(cells: pa.Array) -> pa.Array:
    """Returns cells without extension types and dictionaries."""
    if isinstance(cells, pa.ExtensionArray):
        cells = cells.storage
    if not pa.types.is_dictionary(cells.type):
        return cells
    if pa.types.is_string_view(cells.type.value_type):  # of polars; Arrow can't take rows of views
        return cells.dictionary.cast(pa.string()).take(cells.indices)
    return cells.dictionary_decode()


def decoded_type(type: pa.DataType) -> pa.DataType:
    """Returns the type of cells without a dictionary."""
    if not pa.types.is_dictionary(type):
        return type
    return pa.string() if pa.types.is_string_view(type.value_type) else type.value_type


def to_numbers(cells: pa.Array) -> np.ndarray:
    """Returns cells, (N,) of numbers, as float64 with nan for null. Raises UnusableError for one that isn't exact."""
    if pa.types.is_null(cells.type):
        return np.full(len(cells), np.nan)
    if pa.types.is_integer(cells.type) and cells.type.bit_width == 64:
        _check_exact(cells)
    if pa.types.is_float16(cells.type):  # Arrow casts it in newer versions only
        cells = cells.cast(pa.float32())
    numbers = pc.cast(cells, pa.float64()).to_numpy(zero_copy_only=False)
    is_nan = np.isnan(numbers)
    if is_nan.any():
        numbers = np.where(is_nan, np.nan, numbers)  # there are many nans, and equal rows have equal bits
    return numbers


def _check_exact(cells: pa.Array) -> None:
    bounds = pc.min_max(cells).as_py()
    if bounds["max"] is None or max(abs(bounds["min"]), abs(bounds["max"])) <= MAX_EXACT:
        return
    is_large = pc.greater(cells, pa.scalar(MAX_EXACT, cells.type))
    if bounds["min"] < 0:
        is_large = pc.or_(is_large, pc.less(cells, pa.scalar(-MAX_EXACT, cells.type)))
    row = pc.index(is_large, True).as_py()
    raise UnusableError(
        f"float64 lacks the digits of whole numbers beyond 2^53. Received: {cells[row].as_py()}",
        row=row,
        remedy=("If it is an id", "text_columns"),
    )


def to_texts(cells: pa.Array, labels: tuple[str, ...] = ()) -> pa.StringArray:
    """Returns cells, (N,), as the texts that a CSV file would have, "" for null.

    Args:
        cells: texts, booleans, dates, times or numbers.
        labels: the names that whole numbers stand for, if any.
    """
    if pa.types.is_null(cells.type):
        return pa.array([""] * len(cells), pa.string())
    if labels:
        texts = _named(cells, labels)
    elif pa.types.is_timestamp(cells.type) or pa.types.is_time(cells.type):
        texts = _iso(cells)
    elif pa.types.is_decimal(cells.type):
        texts = pc.cast(pc.cast(cells, pa.float64()), pa.string())
    else:
        if pa.types.is_floating(cells.type):
            cells = pc.if_else(pc.is_nan(cells), pa.scalar(None, cells.type), cells)
        texts = pc.cast(cells, pa.string())
    return pc.fill_null(texts, "")


def _named(cells: pa.Array, labels: tuple[str, ...]) -> pa.StringArray:
    """Returns the labels that numbers stand for; those below 0 stand for none."""
    places = pc.cast(cells, pa.int64())
    bounds = pc.min_max(places).as_py()
    if bounds["max"] is not None and bounds["max"] >= len(labels):
        row = pc.index(pc.greater_equal(places, len(labels)), True).as_py()
        raise UnusableError(f"the file has names for 0 to {len(labels) - 1} only. Received: {places[row]}", row=row)
    places = pc.if_else(pc.less(places, 0), pa.scalar(None, pa.int64()), places)
    return pa.array(labels, pa.string()).take(places)


def _iso(cells: pa.Array) -> pa.StringArray:
    """Returns times as 2024-01-31T12:00:00, with a fraction if it isn't 0, and Z if they are of a known time zone."""
    if pa.types.is_timestamp(cells.type) and cells.type.tz is not None:
        utc = pc.cast(cells, pa.timestamp(cells.type.unit))  # what is stored is the time of UTC
        texts = pc.binary_join_element_wise(pc.cast(utc, pa.string()), "Z", "")
    else:
        texts = pc.cast(cells, pa.string())
    texts = pc.replace_substring_regex(texts, r"(\.\d*[1-9])0+(Z?)$", r"\1\2")
    texts = pc.replace_substring_regex(texts, r"\.0+(Z?)$", r"\1")
    return pc.replace_substring(texts, " ", "T", max_replacements=1)


def to_arrays(cells: pa.Array, depth: int) -> np.ndarray:
    """Returns lists, or lists in lists, as (N, ...), in the type of their values.

    Raises:
        UnusableError: a list or a value of one is missing, or a list has another length than the first one.
    """
    shape: list[int] = []
    values = cells
    for _ in range(depth):
        _refuse_null(values, math.prod(shape))
        lengths = pc.list_value_length(values)
        length = lengths[0].as_py() if len(lengths) else 0
        place = pc.index(pc.not_equal(lengths, length), True).as_py()
        if place >= 0:
            received = f"{lengths[place]} values, and {length} before. Ids can be read as tokens, in data.text"
            raise UnusableError(f"all lists must have one length. Received: {received}", row=place // math.prod(shape))
        shape.append(length)
        values = values.flatten()
    _refuse_null(values, math.prod(shape))
    return values.to_numpy(zero_copy_only=False).reshape(len(cells), *shape)


def _refuse_null(values: pa.Array, num_per_row: int) -> None:
    if values.null_count:
        row = pc.index(values.is_null(), True).as_py() // max(1, num_per_row)
        raise UnusableError("arrays can have no missing values. Received: null", row=row)
