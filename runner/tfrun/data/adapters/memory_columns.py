"""Columns in memory, read as those of a file are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tfrun.components.datasets.arrow_file import ArrowFile
from tfrun.components.datasets.columns import ColumnOptions

BATCH_ROWS = 2**16


class MemoryColumns(ArrowFile):
    """Columns of Arrow's types, and arrays, as a file that `columns.read_table` reads.

    Args:
        name: where the rows come from, for messages.
        cells: the columns of one cell per row.
        arrays: the others, (N, ...) numbers.
        options: the config's; its stores aren't used, since the rows are in memory already.
    """

    def __init__(self, name: str, cells: pa.Table, *, arrays: Mapping[str, np.ndarray], options: ColumnOptions):
        super().__init__(name, cells.schema, options)
        self.header = [*cells.schema.names, *arrays]
        self.leave_out_index(options)
        self.cells = cells
        self._arrays = arrays
        self._stores = None

    def read(self, names: Sequence[str], as_text: Collection[str]) -> tuple[int, dict[str, Any]]:
        num_rows, columns = super().read([name for name in names if name not in self._arrays], as_text)
        columns |= {name: self.array(name, self._arrays[name]) for name in names if name in self._arrays}
        return max([num_rows, *map(len, self._arrays.values())]), {name: columns[name] for name in names}

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        yield from self.cells.select(list(names)).to_batches(max_chunksize=BATCH_ROWS) if names else ()

    def identity(self) -> dict[str, Any]:
        return {}  # no store keeps them

    def num_bytes(self, names: Sequence[str]) -> float:
        return 8.0 * self.cells.num_rows * len(names)

    def find(self, row: int, name: str | None = None) -> tuple[str, str | None]:
        cell = str(self.cells.column(name)[row].as_py()) if name in self.cells.schema.names else None
        return f"{self.path}: row {row}", cell
