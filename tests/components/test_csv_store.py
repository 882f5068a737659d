"""CSV files that are too large for the memory: converted once, with the rows that they have in memory."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.components.datasets import csv_file
from tfrun.components.datasets.csv import csv
from tfrun.data.arrays import StoredArray
from tfrun.data.fingerprint import fingerprint
from tfrun.data.store import KEY_PATTERN, Stores
from tfrun.data.stored_texts import StoredTexts
from tfrun.data.table import Table, TrainedColumns
from tfrun.errors import DataError, ResourceError

N = 60
HEADER = "n,town,code,flag,y"


def row(k: int) -> str:
    """Returns a line; `code` begins with numbers and is text from row 20 on."""
    return f"{'NA' if k % 7 == 0 else k / 8},{'ab'[k % 2]},{k % 3 if k < 20 else 'x'},{k % 2},{k / 4}"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Writes three files, one of them compressed, that are read in many blocks; the folder is the current one."""
    monkeypatch.setenv("TFRUN_DATA_MEMORY", "100")
    monkeypatch.setattr(csv_file, "BLOCK_BYTES", 128)
    monkeypatch.chdir(tmp_path)
    for part in range(3):
        lines = "\n".join([HEADER, *map(row, range(20 * part, 20 * part + 20))])
        content = gzip.compress(lines.encode()) if part == 1 else lines.encode()
        (tmp_path / f"{part}.csv{'.gz' if part == 1 else ''}").write_bytes(content)
    return "*.csv*"


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(tmp_path / "stores")


def kept(stores: Stores) -> list[str]:
    return sorted(path.name for path in stores.folder.glob("*") if path.is_dir() and path.name != "fingerprints")


@pytest.mark.parametrize("target", ["y", "flag", "town", ["y", "flag"]])
def test_the_table_is_that_of_the_memory(target: Any, path: str, stores: Stores) -> None:
    expected, stored = csv(path, target), csv(path, target, stores=stores)
    assert isinstance(stored.columns["n"], StoredArray) and isinstance(stored.columns["code"], StoredTexts)
    assert list(stored.columns) == list(expected.columns)
    for name, column in expected.columns.items():
        assert stored.columns[name].dtype == column.dtype
        np.testing.assert_array_equal(stored.columns[name][:], column)
    for name, values in expected.targets.items():
        assert stored.targets[name].task == values.task
        np.testing.assert_array_equal(stored.targets[name].values, values.values)
    assert fingerprint(stored) == fingerprint(expected)
    assert stored.find(45)[0] == "2.csv:7"


def test_it_is_converted_once_for_a_run_and_its_evaluation(path: str, stores: Stores) -> None:
    table = csv(path, "flag", stores=stores)
    first = kept(stores)
    assert table.task == "classification" and first
    trained = TrainedColumns(numbers=("n", "y"), texts=("town", "code"), targets=(("0", "1"),))
    again = csv(path, "flag", trained_columns=trained, stores=stores)
    assert fingerprint(again) == fingerprint(table) and kept(stores) == first
    # what else a cell follows from has a store of its own
    csv(path, "flag", missing=["0.5"], stores=stores)
    assert len(kept(stores)) > len(first)


def test_files_of_late_texts_are_removed(path: str, stores: Stores) -> None:
    csv(path, "y", stores=stores)
    (place,) = stores.folder.glob(KEY_PATTERN)
    assert len(list(place.glob("*.npy"))) == 5


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("inf", r"^2\.csv:12, column 'n': not finite. Received: 'inf'"),
        ("1,5", r"^2\.csv:12: 6 cells where the header has 5"),
        ("4.o", r"^2\.csv:12, column 'n': not a number. Received: '4.o' \(1 such cells"),
    ],
)
def test_a_faulty_cell_is_named_and_nothing_of_it_kept(cell: str, says: str, path: str, stores: Stores) -> None:
    lines = Path("2.csv").read_text().split("\n")
    lines[11] = f"{cell},a,x,0,1"
    Path("2.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=says):
        csv(path, "y", stores=stores)
    if cell != "4.o":  # that column is one of texts until it is asked whether it means numbers
        assert kept(stores) == []


def test_a_byte_that_is_no_text_is_named_in_a_late_block(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfrun.components.datasets.csv_lines.BLOCK_BYTES", 7)
    lines = [HEADER, *map(row, range(20))]
    lines[8] = "1,München,x,0,1"
    content = "\n".join(lines).encode()
    offset = content.index(b"nchen") - 2
    Path("2.csv").write_bytes(content.replace("ü".encode(), b"\xfc"))
    with pytest.raises(DataError, match=rf"^2\.csv:9: not UTF-8 text. Received: byte 0xfc at offset {offset}\. Save"):
        csv("2.csv", "y")


def test_a_file_larger_than_the_memory_needs_the_store(
    path: str, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfrun.host_memory.total_bytes", lambda: 100.0)
    with pytest.raises(ResourceError, match=r"needs about .* data\.cache=auto keeps the data on disk"):
        csv(path, "y", stores=Stores(stores.folder, is_on=False))


CODE = """
import sys
from pathlib import Path
from tfrun.components.datasets.csv import csv
from tfrun.data.fingerprint import fingerprint
from tfrun.data.store import Stores
print(fingerprint(csv("*.csv*", "y", stores=Stores(Path("stores")))))
"""


def start(failpoint: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", f"import os; os.environ['TFRUN_FAILPOINT'] = {failpoint!r}\n{CODE}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_and_simultaneous_processes_leave_one_whole_store(path: str, stores: Stores) -> None:
    for failpoint in ("store.write:4", "store.sync:2", "store.written", "store.rename"):
        killed = start(failpoint)
        killed.communicate(timeout=60)
        assert killed.returncode == -9 and [name.endswith(".partial") for name in kept(stores)] == [True]
    expected = fingerprint(csv(path, "y"))
    both = [start(), start()]
    for process in both:
        out, error = process.communicate(timeout=60)
        assert (process.returncode, out.strip()) == (0, expected), error
    assert [len(name) for name in kept(stores)] == [32]


def test_a_table_without_a_store_is_in_memory(path: str, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFRUN_DATA_MEMORY", "1e6")
    table: Table = csv(path, "y", stores=stores)
    assert isinstance(table.columns["n"], np.ndarray) and not stores.folder.exists()
