"""The kind of column `image`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from tfrun.config.column_kinds import ImageKind
from tfrun.data.arrays import StoredArray, aligned_empty, blocks
from tfrun.data.kinds.array import ArrayColumn
from tfrun.data.kinds.raw import KINDS_KEY, RawColumn, names_of_kind
from tfrun.errors import DataError

MEANS, DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of red, green and blue in ImageNet, from 0 to 1
SCALE_BYTES = 2**18  # of pixels that are scaled at once


@dataclass(frozen=True)
class ImageColumn(ArrayColumn):
    """Arrays of pixels, which a model gets as pixels · factors + offsets.

    Attributes:
        factors, offsets: one number, or one for each channel.
    """

    factors: tuple[float, ...]
    offsets: tuple[float, ...]

    kind: ClassVar[Any] = ImageKind
    json_keys: ClassVar = (KINDS_KEY,)

    @classmethod
    def fit(cls, raw: RawColumn, kind: Any) -> Self:
        """Learns the range of the pixels from their type. Raises DataError if the scale doesn't fit."""
        shape = tuple(raw.cells.shape[1:])
        if len(shape) not in (2, 3):
            raise DataError(
                f"{raw.source}: column {raw.name!r}: images need (height, width) or (height, width, channels). "
                f"Received: {shape}"
            )
        if kind.scale == "none":
            return cls(raw.name, shape, (1.0,), (0.0,))
        unit = 1 / _white(raw)
        if kind.scale == "unit":
            return cls(raw.name, shape, (unit,), (0.0,))
        if shape[-1] != 3 or len(shape) != 3:
            raise DataError(
                f"{raw.source}: column {raw.name!r}: scale imagenet needs red, green and blue, "
                f"(height, width, 3). Received: {shape}"
            )
        factors = tuple(unit / deviation for deviation in DEVIATIONS)
        offsets = tuple(-mean / deviation for mean, deviation in zip(MEANS, DEVIATIONS, strict=True))
        return cls(raw.name, shape, factors, offsets)

    @property
    def is_scaled(self) -> bool:
        return (self.factors, self.offsets) != ((1.0,), (0.0,))

    def encode(self, cells: np.ndarray | StoredArray, dtype: str) -> np.ndarray | StoredArray:
        """Returns the scaled pixels in memory, of the given type and aligned; those on disk are scaled when read."""
        if not self.is_scaled:
            return super().encode(cells, dtype)
        if isinstance(cells, StoredArray):
            return ScaledArray(cells, self, dtype)
        encoded = aligned_empty(cells.shape, dtype)
        self.scale_into(encoded, cells)
        return encoded

    def scale_into(self, scaled: np.ndarray, pixels: np.ndarray) -> None:
        """Fills an array of floats, in whose type it computes, with scaled pixels of the same shape."""
        factors, offsets = np.array(self.factors, scaled.dtype), np.array(self.offsets, scaled.dtype)
        # adding 0 would change -0 alone, which unsigned pixels can't become
        has_offsets = bool(offsets.any()) or pixels.dtype.kind != "u"
        # a stream does this for each batch: some pixels at a time, in place, is several times as fast
        for rows in blocks(pixels, SCALE_BYTES):
            block = scaled[rows]
            block[...] = pixels[rows]
            block *= factors
            if has_offsets:
                block += offsets

    def to_json(self) -> dict[str, Any]:
        """Returns what it has learnt, by the keys of `preprocessing.json`."""
        learnt = {"shape": list(self.shape), "factors": list(self.factors), "offsets": list(self.offsets)}
        return {KINDS_KEY: {"name": self.kind.name, **learnt}}

    @classmethod
    def names_in(cls, fields: Mapping[str, Any]) -> Iterable[str]:
        """Returns the names of the columns of this kind in `preprocessing.json`."""
        return names_of_kind(fields, cls.kind.name)

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        """Returns a column of `preprocessing.json`."""
        shape, factors, offsets = (tuple(fields[KINDS_KEY][name][key]) for key in ("shape", "factors", "offsets"))
        return cls(name, shape, factors, offsets)


class ScaledArray(StoredArray):
    """Images that stay on disk and are scaled when they are read.

    Args:
        stored: the pixels.
        column: their scale.
        dtype: of the scaled pixels.
    """

    def __init__(self, stored: StoredArray, column: ImageColumn, dtype: Any):
        self.path, self.shape, self.dtype = stored.path, stored.shape, np.dtype(dtype)
        self._stored, self._column = stored, column

    @property
    def nbytes(self) -> int:
        """The size on disk."""
        return self._stored.nbytes

    def select(self, rows: np.ndarray) -> ScaledArray:
        """Returns the images with the given numbers, (R,), which stay on disk too."""
        return ScaledArray(self._stored.select(rows), self._column, self.dtype)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Returns rows start to stop - 1, aligned."""
        return self._aligned(self._stored.read(start, stop))

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Returns the rows with the given numbers, (R,), in the order of `rows`, aligned."""
        return self._aligned(self._stored.take(rows))

    def take_windows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Returns windows of rows that follow each other, as `StoredArray.take_windows`."""
        return self._aligned(self._stored.take_windows(starts, length))

    def _aligned(self, pixels: np.ndarray) -> np.ndarray:
        scaled = aligned_empty(pixels.shape, self.dtype)
        self._column.scale_into(scaled, pixels)
        return scaled


def _white(raw: RawColumn) -> float:
    """Returns the number of a white pixel: the largest of a small integer type; 1 or 255 for floats."""
    dtype = raw.cells.dtype
    if dtype.kind in "iu":
        return float(np.iinfo(dtype).max) if dtype.itemsize <= 2 else 255.0
    if dtype.kind == "b":
        return 1.0
    return 1.0 if all(float(np.max(block)) <= 1 for block in raw.training_blocks()) else 255.0
