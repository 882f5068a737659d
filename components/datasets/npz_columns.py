"""Reads columns that are arrays of an .npz file."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from tfrun.components.datasets.arrow_file import ArrowFile
from tfrun.components.datasets.columns import ColumnOptions
from tfrun.components.datasets.npz_archive import NpzArray, check_texts, open_archive, readable
from tfrun.components.datasets.paths import versions
from tfrun.errors import DataError

BATCH_ROWS = 2**16


class NpzColumns(ArrowFile):
    """The arrays of an archive as columns; `open` creates one.

    Args:
        path: the archive.
        arrays: by name, those that aren't columns left out.
        options: the config's.
    """

    def __init__(self, path: str, arrays: Mapping[str, NpzArray], options: ColumnOptions):
        flat = {name: array for name, array in arrays.items() if _is_flat(array, is_target=name in options.targets)}
        super().__init__(path, pa.schema([(name, _type_of(array.dtype)) for name, array in flat.items()]), options)
        self.header = list(arrays)
        self._arrays = arrays
        self._flat = flat

    @classmethod
    def open(cls, path: str, options: ColumnOptions) -> tuple[NpzColumns, ColumnOptions]:
        """Returns the arrays that the options name, and the options with the task of the target's type.

        Raises:
            DataError: there is no such array, or one that can't be a column of the same rows.
        """
        names = dict.fromkeys(options.columns or [], "x")
        if not names:
            raise DataError("data.x: must name at least one array. Received: []")
        names |= {} if options.rows_only else dict.fromkeys(options.targets, "y")
        with readable(path), open_archive(path) as archive:
            arrays = {name: NpzArray.find(archive, path, name=name, option=option) for name, option in names.items()}
        first, shape = next((name, array.shape) for name, array in arrays.items())
        for name, array in arrays.items():
            if array.shape[:1] != shape[:1] or array.dtype.kind not in "biufU":
                raise DataError(
                    f"data.{names[name]}: numbers or texts are needed, with a row for each of {first!r}, {shape}. "
                    f"Received: {name!r}, {array.dtype} {array.shape}"
                )
            check_texts(array)
        if options.task == "auto" and not options.rows_only:
            is_float = arrays[options.targets[0]].dtype.kind == "f"
            options = replace(options, task="regression" if is_float else "classification")
        return cls(path, arrays, options), options

    def read(self, names: Sequence[str], as_text: Collection[str]) -> tuple[int, dict[str, Any]]:
        num_rows, columns = super().read([name for name in names if name in self._flat], as_text)
        with readable(self.path), open_archive(self.path) as archive:
            for name in names:
                if name not in self._flat:
                    columns[name] = self.array(name, self._arrays[name].open(archive))
                    num_rows = len(columns[name])
        return num_rows, {name: columns[name] for name in names}

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with readable(self.path), open_archive(self.path) as archive:
            columns = [self._flat[name].open_flat(archive) for name in names]
        for start in range(0, min(map(len, columns), default=0), BATCH_ROWS):
            cells = [_to_arrow(column[start : start + BATCH_ROWS]) for column in columns]
            yield pa.RecordBatch.from_arrays(cells, names=list(names))

    def identity(self) -> dict[str, Any]:
        return {"reader": "npz", "files": versions([self.path])}

    def num_bytes(self, names: Sequence[str]) -> float:
        return sum(8 * math.prod(self._flat[name].shape) for name in names)

    def find(self, row: int, name: str | None = None) -> tuple[str, str | None]:
        return f"{self.path}: row {row}", None


def _is_flat(array: NpzArray, *, is_target: bool) -> bool:
    """Returns whether an array has one cell for each row; a target may be (N, 1)."""
    return len(array.shape) == 1 or (is_target and array.shape[1:] == (1,))


def _type_of(dtype: np.dtype) -> pa.DataType:
    return pa.string() if dtype.kind == "U" else pa.from_numpy_dtype(_native(dtype))


def _native(dtype: np.dtype) -> np.dtype:
    """Returns the type in the machine's byte order; Arrow has no float larger than float64."""
    return np.dtype("float64") if dtype.kind == "f" and dtype.itemsize > 8 else dtype.newbyteorder("=")


def _to_arrow(cells: np.ndarray) -> pa.Array:
    if cells.dtype.kind == "U":
        return pa.array(cells.tolist(), pa.string())
    return pa.array(cells.astype(_native(cells.dtype), copy=False))
