"""The features of a TFRecord file's examples: what each of them holds, and how a block of examples becomes columns."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from tfrun.components.datasets.arrow_types import UnusableError
from tfrun.components.datasets.image_pixels import ImageError, PixelFormat, decode_bytes, is_image
from tfrun.errors import DataError, near_miss

NUMBERS = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
IMAGE = "image"  # an encoded one: JPEG, PNG
DTYPES = (*NUMBERS, "bool", "string", IMAGE)
KEYS = ("dtype", "shape")


@dataclass(frozen=True)
class Feature:
    """What a feature holds in every example.

    Attributes:
        dtype: one of `DTYPES`.
        shape: () for a single value; of images, that of their pixels.
        pixels: what images become, or None.
        is_bag: whether an example holds any number of integers or texts, which are ids.
    """

    dtype: str
    shape: tuple[int, ...] = ()
    pixels: PixelFormat | None = None
    is_bag: bool = False

    @classmethod
    def of_images(cls, pixels: PixelFormat) -> Feature:
        """Returns a feature of encoded images."""
        return cls(IMAGE, pixels.shape, pixels)

    @classmethod
    def from_config(cls, name: str, value: Any, pixels: PixelFormat) -> Feature:
        """Returns the feature that an entry of data.features describes. Raises DataError.

        Args:
            name: the feature's.
            value: the entry.
            pixels: what images become.
        """
        where = f"data.features.{name}"
        value = {"dtype": value} if isinstance(value, str) else value
        if not isinstance(value, Mapping):
            raise DataError(f"{where}: must be a mapping, such as {{dtype: float32, shape: [8]}}. Received: {value!r}")
        for key in value:
            if key not in KEYS:
                raise DataError(
                    f"{where}: unknown key. Received: {key!r}. Known: {', '.join(KEYS)}.{near_miss(key, KEYS)}"
                )
        dtype, shape = value.get("dtype"), value.get("shape", [])
        if dtype not in DTYPES:
            raise DataError(
                f"{where}.dtype: unknown type. Received: {dtype!r}. Known: {', '.join(DTYPES)}."
                f"{near_miss(dtype, DTYPES)}"
            )
        if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
            raise DataError(f"{where}.shape: must be a list of sizes, of 1 or more. Received: {shape!r}")
        if dtype == "string" and shape:
            raise DataError(f"{where}.shape: texts can't be arrays. Received: {shape}")
        if dtype == IMAGE:
            if shape:
                raise DataError(f"{where}.shape: data.size and data.channels set that of images. Received: {shape}")
            return cls.of_images(pixels)
        return cls(dtype, tuple(shape))

    @property
    def type(self) -> pa.DataType:
        """Arrow's type."""
        known = {"string": pa.string(), "bool": pa.bool_(), IMAGE: pa.uint8()}
        result = known.get(self.dtype) or pa.from_numpy_dtype(self.dtype)
        for size in reversed(self.shape):
            result = pa.list_(result, size)
        return pa.list_(result) if self.is_bag else result

    def as_bag(self) -> Feature:
        """Returns the feature as one of bags of ids, if it is one of whole numbers without a shape."""
        is_integer = self.dtype in NUMBERS and np.dtype(self.dtype).kind in "iu"
        return replace(self, is_bag=True) if is_integer and not self.shape else self

    def column(self, features: Sequence[Any]) -> pa.Array:
        """Returns a feature's values in a block of examples.

        Args:
            features: for each example its `Feature` message, or None if it has none.

        Raises:
            UnusableError: an example doesn't hold what the feature says.
        """
        if self.is_bag:
            return self._bags(features)
        if self.dtype == "string":
            return self._texts(features)
        if self.pixels is not None:
            return self._images(features, self.pixels)
        if self.shape:
            return self._arrays(features)
        dtype = np.dtype(self.dtype)
        values = [self._single(feature, row) for row, feature in enumerate(features)]
        if self.dtype == "bool":
            return pa.array([None if value is None else bool(value) for value in values], pa.bool_())
        if dtype.kind == "f":
            return pa.array(np.array([np.nan if value is None else value for value in values], dtype))
        try:
            return pa.array(values, self.type)
        except (pa.ArrowInvalid, OverflowError):
            limits = np.iinfo(dtype)
            row = next(
                k for k, value in enumerate(values) if value is not None and not limits.min <= value <= limits.max
            )
            raise UnusableError(f"no {self.dtype}. Received: {values[row]}", row=row) from None

    def _single(self, feature: Any, row: int) -> Any:
        """Returns an example's only value, or None if it has none."""
        kind = feature and feature.WhichOneof("kind")
        if not kind:
            return None
        values = getattr(feature, kind).value
        if len(values) == 0:
            return None
        if kind == "bytes_list":
            return self._from_bytes(values, row)[0].item()
        if len(values) > 1:
            raise UnusableError(f"a single number is needed. Received: {len(values)} numbers", row=row)
        if kind == "float_list" and np.dtype(self.dtype).kind != "f":
            raise UnusableError(f"{self.dtype} is needed. Received: the float {values[0]:g}", row=row)
        return values[0]

    def _texts(self, features: Sequence[Any]) -> pa.Array:
        texts: list[bytes | None] = []
        for row, feature in enumerate(features):
            kind = feature and feature.WhichOneof("kind")
            values = getattr(feature, kind).value if kind else []
            if len(values) > 1 or (len(values) and kind != "bytes_list"):
                what = "texts" if kind == "bytes_list" else "numbers"
                raise UnusableError(f"a text is needed. Received: {len(values)} {what}", row=row)
            texts.append(values[0] if len(values) else None)
        try:
            return pa.array(texts, pa.binary()).cast(pa.string())
        except pa.ArrowInvalid:
            row = next(k for k, text in enumerate(texts) if text is not None and not is_utf8(text))
            raise UnusableError(f"a text in UTF-8 is needed. Received: {(texts[row] or b'')[:20]!r}", row=row) from None

    def _bags(self, features: Sequence[Any]) -> pa.Array:
        expected, what = ("bytes_list", "texts") if self.dtype == "string" else ("int64_list", "whole numbers")
        bags: list[list[Any]] = []
        for row, feature in enumerate(features):
            kind = feature and feature.WhichOneof("kind")
            if kind and kind != expected and len(getattr(feature, kind).value):
                raise UnusableError(f"{what} are needed. Received: a {kind.removesuffix('_list')}", row=row)
            bags.append(list(getattr(feature, kind).value) if kind == expected else [])
        if self.dtype != "string":
            return _exact(bags, self.type)
        for row, texts in enumerate(bags):
            if not all(map(is_utf8, texts)):
                raise UnusableError("texts in UTF-8 are needed. Received: bytes", row=row)
        return pa.array(bags, pa.list_(pa.binary())).cast(self.type)

    def _arrays(self, features: Sequence[Any]) -> pa.Array:
        num_values = math.prod(self.shape)
        dtype = np.dtype(self.dtype)
        rows = np.empty((len(features), num_values), dtype)
        for row, feature in enumerate(features):
            kind = feature and feature.WhichOneof("kind")
            if not kind:
                raise UnusableError("arrays can have no missing values. Received: none", row=row)
            values = getattr(feature, kind).value
            numbers = self._from_bytes(values, row) if kind == "bytes_list" else np.array(values)
            if len(numbers) != num_values:
                raise UnusableError(
                    f"{num_values} values are needed for the shape {list(self.shape)}. Received: {len(numbers)}",
                    row=row,
                )
            if kind == "float_list" and dtype.kind != "f":
                raise UnusableError(f"{self.dtype} is needed. Received: floats", row=row)
            rows[row] = numbers
            if kind == "int64_list" and not np.array_equal(rows[row], numbers):
                raise UnusableError(f"no {self.dtype}. Received: {numbers[rows[row] != numbers][0]}", row=row)
        return _as_lists(rows, self.shape)

    def _images(self, features: Sequence[Any], pixels: PixelFormat) -> pa.Array:
        contents: list[bytes] = []
        for row, feature in enumerate(features):
            kind = feature and feature.WhichOneof("kind")
            values = getattr(feature, kind).value if kind else []
            if len(values) != 1 or kind != "bytes_list":
                what = "none" if len(values) == 0 else f"{len(values)} {kind.removesuffix('_list')} values"
                raise UnusableError(f"an encoded image is needed. Received: {what}", row=row)
            contents.append(values[0])
        try:
            return _as_lists(decode_bytes(contents, pixels), self.shape)
        except ImageError as error:
            begin = contents[error.row][:8]
            raise UnusableError(f"{error}. Received: bytes that begin with {begin!r}", row=error.row) from None

    def _from_bytes(self, values: Sequence[bytes], row: int) -> np.ndarray:
        """Returns the numbers of a bytes list as `tf.io.decode_raw` does, little endian."""
        needed = math.prod(self.shape) * np.dtype(self.dtype).itemsize
        if len(values) != 1 or len(values[0]) != needed:
            received = (
                f"{len(values[0])} bytes, which begin with {values[0][:8]!r}" if len(values) == 1 else len(values)
            )
            raise UnusableError(f"{needed} bytes of {self.dtype} are needed. Received: {received}", row=row)
        return np.frombuffer(values[0], np.dtype(self.dtype).newbyteorder("<"))


def _exact(bags: Sequence[list[int]], type: pa.DataType) -> pa.Array:
    """Returns lists of whole numbers. Raises UnusableError for one that the type doesn't have."""
    try:
        return pa.array(bags, type)
    except (pa.ArrowInvalid, OverflowError):
        limits = np.iinfo(str(type.value_type))
        row, wrong = next((k, x) for k, bag in enumerate(bags) for x in bag if not limits.min <= x <= limits.max)
        raise UnusableError(f"no {type.value_type}. Received: {wrong}", row=row) from None


def _as_lists(rows: np.ndarray, shape: tuple[int, ...]) -> pa.Array:
    """Returns arrays as lists in lists: rows (N, ...) of the given shape in all."""
    values = pa.array(rows.reshape(-1))
    for size in reversed(shape):
        values = pa.FixedSizeListArray.from_arrays(values, size)
    return values


def guess(
    examples: Sequence[Mapping[str, Any]], pixels: PixelFormat, *, bags: Collection[str] = ()
) -> tuple[dict[str, Feature], dict[str, str]]:
    """Returns the features of examples, ordered by name, and for each that can't be guessed why not.

    Args:
        examples: for each example its `Feature` messages by name.
        pixels: what images become.
        bags: the features whose values are ids, of which an example may have any number.
    """
    known: dict[str, Feature] = {}
    unknown: dict[str, str] = {}
    for name in sorted({name for example in examples for name in example}):
        features = [example[name] for example in examples if name in example]
        try:
            known[name] = (name in bags and _guess_bag(features)) or _guess(features, pixels)
        except UnusableError as error:
            unknown[name] = str(error)
    return known, unknown


def _guess_bag(features: Sequence[Any]) -> Feature | None:
    """Returns the feature of bags of ids; None if there are single texts, or values of another type."""
    kinds = [feature.WhichOneof("kind") for feature in features]
    lists = [(kind, getattr(feature, kind).value) for feature, kind in zip(features, kinds, strict=True) if kind]
    filled = {kind for kind, values in lists if len(values)}
    if filled == {"int64_list"}:
        return Feature("int64", is_bag=True)
    is_of_texts = filled == {"bytes_list"} and max(len(values) for _, values in lists) > 1
    return Feature("string", is_bag=True) if is_of_texts else None


def _guess(features: Sequence[Any], pixels: PixelFormat) -> Feature:
    """Returns what a feature holds. Raises UnusableError if it isn't the same in all examples."""
    kinds = {feature.WhichOneof("kind") for feature in features} - {None}
    if not kinds:
        raise UnusableError("it has no value")
    if len(kinds) > 1:
        raise UnusableError("its values are of several types")
    kind = kinds.pop()
    lists = [getattr(feature, kind).value for feature in features if feature.WhichOneof("kind")]
    lengths = {len(values) for values in lists}
    if kind == "bytes_list":
        if max(lengths) > 1:
            raise UnusableError("it holds lists of texts or bytes")
        filled = [values[0] for values in lists if len(values)]
        if sum(map(is_image, filled)) * 2 > len(filled):  # reading them names one that is broken
            return Feature.of_images(pixels)
        if not all(map(is_utf8, filled)):
            raise UnusableError("it holds bytes that are no text")
        return Feature("string")
    dtype = "float32" if kind == "float_list" else "int64"
    if max(lengths) <= 1:
        return Feature(dtype)
    if len(lengths) > 1:
        raise UnusableError(f"its lists have {min(lengths)} to {max(lengths)} values")
    return Feature(dtype, (lengths.pop(),))


def is_utf8(text: bytes) -> bool:
    """Returns whether bytes are a text."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
