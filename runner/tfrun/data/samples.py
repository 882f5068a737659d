"""Sample rows: a few raw rows of its data that a run keeps as `samples.json`, to compare its exports with.

They are plain JSON: numbers and texts as they are, an empty number cell as null, arrays in base64.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfrun.data.kinds import ArrayColumn, Column
from tfrun.data.table import Table
from tfrun.files import strict_json

MAX_ROWS = 64
MAX_BYTES = 2**22  # for all rows together: images may be large, and a sweep has many runs


@dataclass(frozen=True)
class Samples:
    """Raw rows of a table.

    Attributes:
        rows: their numbers in the table.
        columns: their cells by column, as a `Table` has them; never the target or the weights.
    """

    rows: np.ndarray
    columns: dict[str, Any]

    @classmethod
    def take(cls, table: Table, splits: Mapping[str, np.ndarray]) -> Samples:
        """Returns copies of at most 64 rows: test rows, then validation rows, then training rows.

        They are fewer if they take more than 4 MiB, but at least one. To be called before the table is encoded.
        """
        table.require_columns()
        rows = np.concatenate([splits["test"], splits["val"], splits["train"]])[:MAX_ROWS]
        num_fitting = int((np.cumsum(_bytes_of_rows(table.columns, rows)) <= MAX_BYTES).sum())
        rows = rows[: max(1, num_fitting)]
        return cls(rows, {name: np.array(column[rows]) for name, column in table.columns.items()})

    @classmethod
    def none(cls) -> Samples:
        """Returns no rows."""
        return cls(np.arange(0), {})

    @property
    def may_be_kept(self) -> bool:
        """Whether there are any, small enough to be written."""
        return len(self.rows) > 0 and _bytes_of_rows(self.columns, np.arange(len(self.rows))).sum() <= MAX_BYTES

    def check_fits(self, columns: Iterable[Column]) -> None:
        """Raises ValueError or KeyError if these aren't rows of a run that has learnt these columns."""
        lengths = {len(self.rows), *map(len, self.columns.values())}
        if len(lengths) > 1:
            raise ValueError("its columns have different lengths")
        for column in columns:
            cells = self.columns[column.name]
            is_right = (
                all(isinstance(cell, str) for cell in cells)
                if column.is_text
                else cells.dtype != object
                and cells.shape[1:] == (column.shape if isinstance(column, ArrayColumn) else ())
            )
            if not is_right:
                raise ValueError(f"the cells of {column.name!r} aren't those of such a column")

    def to_json(self) -> str:
        """Returns the text of `samples.json`."""
        columns = {name: _to_json(cells) for name, cells in self.columns.items()}
        return strict_json.dumps({"rows": self.rows.tolist(), "columns": columns}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Samples:
        """Returns the samples whose `to_json` gave this text. Raises ValueError, KeyError or TypeError for another."""
        fields = json.loads(text)
        return cls(np.array(fields["rows"]), {name: _from_json(cells) for name, cells in fields["columns"].items()})


def _bytes_of_rows(columns: Mapping[str, Any], rows: np.ndarray) -> np.ndarray:
    """Returns the size of each of the rows, (R,), without reading arrays, which may be large."""
    sizes = np.zeros(len(rows))
    for column in columns.values():
        if column.dtype == object:
            cells = column[rows].reshape(len(rows), -1)  # windows of a series have several texts
            sizes += [sum(map(len, texts)) for texts in cells]
        else:
            sizes += math.prod(column.shape[1:]) * column.dtype.itemsize
    return sizes


def _to_json(cells: np.ndarray) -> Any:
    if cells.dtype == object:
        return cells.tolist()
    if cells.ndim > 1:
        content = base64.b64encode(np.ascontiguousarray(cells).tobytes()).decode()
        return {"dtype": cells.dtype.str, "shape": list(cells.shape), "base64": content}
    return [None if math.isnan(cell) else cell for cell in cells.astype("float64").tolist()]


def _from_json(cells: Any) -> np.ndarray:
    if isinstance(cells, dict):
        dtype = np.dtype(cells["dtype"])
        if dtype.kind not in "biuf":
            raise ValueError(f"not a type of numbers: {dtype}")
        return np.frombuffer(base64.b64decode(cells["base64"]), dtype).reshape(cells["shape"])
    if any(isinstance(cell, str | list) for cell in cells):
        return np.array(cells, dtype=object)
    return np.array([math.nan if cell is None else cell for cell in cells], dtype="float64")
