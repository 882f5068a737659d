"""Equal contents have equal fingerprints, and any change shows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.data import fingerprint as module
from tfrun.data.arrays import StoredArray, blocks
from tfrun.data.fingerprint import fingerprint
from tfrun.data.table import Table
from tfrun.errors import DataError


def changed(column: np.ndarray, row: int, value: Any) -> np.ndarray:
    column = column.copy()
    column[row] = value
    return column


def test_it_is_the_sha_256_of_names_and_cells(homes: Callable[..., Table]) -> None:
    table = homes(weights=np.full(10, 2.0))
    digest = hashlib.sha256()
    digest.update(b"size" + table.columns["size"].tobytes())
    digest.update(b"flat" + table.columns["flat"].tobytes())
    digest.update(b"city" + b"b\0a\0\0b\0c\0b\0x\0x\0x\0x")
    digest.update(b"price" + table.target.tobytes())
    digest.update(table.weights.tobytes() if table.weights is not None else b"")
    assert fingerprint(table) == digest.hexdigest()


def test_the_size_of_a_block_does_not_show(homes: Callable[..., Table], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fingerprint(homes())
    monkeypatch.setattr(module, "blocks", lambda array: blocks(array, 24))
    assert fingerprint(homes()) == whole


def test_it_depends_on_the_contents_alone(homes: Callable[..., Table]) -> None:
    table = homes()
    base = fingerprint(table)
    assert base == fingerprint(homes(source="elsewhere.csv"))
    columns = table.columns
    others = [
        homes(columns=columns | {"size": changed(columns["size"], 9, 1e6 + 1)}),
        homes(columns=columns | {"size": changed(columns["size"], 8, 0.0)}),
        homes(columns=columns | {"city": changed(columns["city"], 0, "B")}),
        homes(columns=columns | {"city": changed(changed(columns["city"], 0, "ba"), 1, "")}),
        homes(columns={("town" if name == "city" else name): column for name, column in columns.items()}),
        homes(target=changed(table.target, 9, 0.0)),
        homes(target_name="value"),
        homes(weights=np.ones(10)),
    ]
    assert len({base, *map(fingerprint, others)}) == 1 + len(others)


def test_an_array_has_the_same_one_on_disk(homes: Callable[..., Table], tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(10, 2, 2))
    images.tofile(tmp_path / "images")
    stored = StoredArray(str(tmp_path / "images"), 0, shape=images.shape, dtype=images.dtype)
    assert fingerprint(homes(columns={"image": stored})) == fingerprint(homes(columns={"image": images}))


def test_an_array_that_is_not_finite_is_an_error(homes: Callable[..., Table]) -> None:
    images = np.zeros((10, 2, 2))
    images[7, 1, 0] = np.nan
    with pytest.raises(DataError, match="homes.csv: nan or inf in row 7 of 'image'"):
        fingerprint(homes(columns={"image": images}))
