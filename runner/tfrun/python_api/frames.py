"""Makes frames of columns, with the library that is installed; none is needed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from tfrun.errors import unknown

FrameKind = Literal["pandas", "polars", "columns", "records"]
KINDS = ("pandas", "polars", "columns", "records")


def default_kind(without: FrameKind = "columns") -> FrameKind:
    """Returns `pandas` or `polars`, the first that is installed, or `without` if neither is."""
    if find_spec("pandas"):
        return "pandas"
    return "polars" if find_spec("polars") else without


def check_kind(kind: str | None) -> None:
    """Raises ConfigError if a kind isn't one of KINDS or None."""
    if kind is not None and kind not in KINDS:
        raise unknown("frame", "kind of frame", name=kind, known=KINDS)


def kind_of(rows: Any) -> FrameKind:
    """Returns the kind of the rows that a caller has given: predictions for them become a frame of the same kind."""
    if isinstance(rows, Mapping):
        return "columns"
    if is_pandas(rows):
        return "pandas"
    return "polars" if type(rows).__module__.startswith("polars") else default_kind()


def is_pandas(rows: Any) -> bool:
    """Returns whether rows are a pandas frame; pandas isn't imported."""
    return type(rows).__module__.startswith("pandas") and hasattr(rows, "reset_index")


def as_frame(columns: Mapping[str, Any], kind: FrameKind, *, index: Any = None) -> Any:
    """Returns columns as a frame.

    Args:
        columns: by name, lists or arrays of one length.
        kind: "columns" is a mapping of arrays, "records" a list with a mapping for each row.
        index: of a pandas frame; other kinds have none.
    """
    if kind == "pandas":
        import pandas as pd

        return pd.DataFrame(dict(columns), index=index)
    if kind == "polars":
        import polars as pl

        return pl.DataFrame(dict(columns), strict=False)
    if kind == "records":
        plain = {name: cells.tolist() if isinstance(cells, np.ndarray) else cells for name, cells in columns.items()}
        return [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
    return {name: cells if isinstance(cells, np.ndarray) else _as_array(cells) for name, cells in columns.items()}


def _as_array(cells: list[Any]) -> np.ndarray:
    """Returns cells as an array, of objects unless all are numbers."""
    is_number = all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells)
    array = np.empty(len(cells), object)
    array[:] = cells
    return np.array(cells) if is_number else array
