"""Writes the rows of a case as Parquet and as TFRecord, which tfrun converts into a store. Imports no TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from tfrun.components.datasets.tf_example import example_class


def write(folder: Path, overrides: Sequence[str]) -> dict[str, list[str]]:
    """Writes the rows of a CSV or .npz file again; image files are converted as they are.

    Args:
        folder: where to.
        overrides: those that select the file, and others.

    Returns:
        The overrides for each format, by its name.
    """
    words = dict(word.split("=", 1) for word in overrides)
    if words["data"] == "images":
        return {"images": list(overrides)}
    others = [word for word in overrides if not word.startswith(("data=", "data.path=", "data.target="))]
    columns, target, task = _read(words["data"], Path(words["data.path"]))
    pq.write_table(pa.table({name: _arrow(column) for name, column in columns.items()}), folder / "rows.parquet")
    write_records(folder / "rows.tfrecord", columns)
    features = ", ".join(f"{name}: {_described(column)}" for name, column in columns.items())
    select = [*others, f"data.target={target}", f"data.task={task}"]
    return {
        "Parquet": ["data=parquet", f"data.path={folder}/rows.parquet", *select],
        "TFRecord": ["data=tfrecord", f"data.path={folder}/rows.tfrecord", f"data.features={{{features}}}", *select],
    }


def _read(name: str, path: Path) -> tuple[dict[str, np.ndarray], str, str]:
    """Returns the columns of a case's file, its target and its task."""
    if name == "npz":
        with np.load(path) as archive:
            return {"x": archive["x"], "y": archive["y"]}, "y", "classification"
    table = arrow_csv.read_csv(path)
    return {name: table[name].to_numpy().astype(np.float32) for name in table.column_names}, "y", "regression"


def _arrow(column: np.ndarray) -> pa.Array:
    values = pa.array(column.reshape(-1))
    for size in column.shape[:0:-1]:
        values = pa.FixedSizeListArray.from_arrays(values, size)
    return values


def _described(column: np.ndarray) -> str:
    shape = ", ".join(map(str, column.shape[1:]))
    return f"{{dtype: {column.dtype}, shape: [{shape}]}}"


def write_records(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Writes rows as TFRecord; numbers and arrays are lists of floats or integers."""
    with open(path, "wb") as file:
        for row in zip(*columns.values(), strict=True):
            content = _example(zip(columns, row, strict=True))
            length = struct.pack("<Q", len(content))
            file.write(length + _masked_crc(length) + content + _masked_crc(content))


def _example(row: Iterable[tuple[str, Any]]) -> bytes:
    example = example_class()()
    for name, value in row:
        feature = example.features.feature[name]
        values = feature.int64_list.value if np.asarray(value).dtype.kind == "i" else feature.float_list.value
        values.extend(np.ravel(value).tolist())
    content: bytes = example.SerializeToString()
    return content


def _masked_crc(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
