"""Rows with two columns of ids, which follow Zipf's law. Imports no TensorFlow.

Most rows have one of a few ids, and many ids come up once or never, as users and articles do. The draws are spread over
the ids by a multiplicative hash, so that frequent ids don't lie beside each other in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

NUM_ROWS = 2_000_000
NUM_NUMBERS = 13
EXPONENT = 1.1
MULTIPLIER = np.uint64(2654435761)  # Knuth's
MODEL = ["model=wide_deep", "model.crosses=[]", "loss=binary_crossentropy", "metric=binary"]
TABLES = ("wide/table", "deep/embeddings")  # paths of the tables' variables
DIM = 8  # the length of an id's vector in the deep part


@dataclass(frozen=True, repr=False)
class Batches:
    """Encoded rows, as loops outside of tfrun train them.

    Attributes:
        numbers: (rows, 13) float32.
        ids: (rows, 2) int32, rows of the tables: an id of the second column begins where those of the first end.
        targets: (rows, 1) float32, 0 or 1.
    """

    numbers: np.ndarray
    ids: np.ndarray
    targets: np.ndarray

    def save(self, folder: Path) -> None:
        """Writes the arrays into a folder, which is made."""
        folder.mkdir(parents=True)
        for name, array in vars(self).items():
            np.save(folder / f"{name}.npy", array)

    @staticmethod
    def load(folder: Path) -> Batches:
        """Reads what `save` wrote."""
        return Batches(*(np.load(folder / f"{name}.npy") for name in ("numbers", "ids", "targets")))


def write(folder: Path, num_ids: int, num_rows: int) -> list[str]:
    """Writes rows of two ids, 13 numbers and a click that depends on both; returns the overrides for them."""
    import pyarrow as pa
    from pyarrow import parquet

    random = np.random.default_rng(0)
    draws = random.zipf(EXPONENT, size=(num_rows, 2)).astype(np.uint64)
    ids = (draws * MULTIPLIER % np.uint64(num_ids)).astype(np.int64)  # wraps around
    x = random.standard_normal((num_rows, NUM_NUMBERS), dtype="float32")
    logits = x[:, 0] + 0.5 * x[:, 1] * x[:, 2] + np.sin(ids).sum(axis=1) - 1
    columns: Mapping[str, Any] = {
        "user": ids[:, 0],
        "item": ids[:, 1],
        **{f"x{k}": x[:, k] for k in range(NUM_NUMBERS)},
        "click": (random.random(num_rows) < 1 / (1 + np.exp(-logits))).astype(np.int64),
    }
    path = folder / "clicks.parquet"
    parquet.write_table(pa.table(dict(columns)), path)
    hashed = f"{{name: hash, bins: {num_ids}}}"
    text = f"data.text={{user: {hashed}, item: {hashed}}}"
    return ["data=parquet", f"data.path={path}", "data.target=click", text, *MODEL]
