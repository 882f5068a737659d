"""Columns that are kept on disk: written once, whole or not at all, by one process at a time."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfrun.components.datasets.parquet import parquet
from tfrun.data import known_fingerprints, store
from tfrun.data.arrays import StoredArray
from tfrun.data.fingerprint import fingerprint
from tfrun.data.store import Columns, StoredColumn, Stores, StoreWriter
from tfrun.data.stored_texts import StoredTexts
from tfrun.data.table import Table
from tfrun.errors import DataError, ResourceError
from tfrun.files.failpoints import set_failpoint

N = 40


@pytest.fixture(autouse=True)
def _no_failpoint() -> Any:
    yield
    set_failpoint("")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "stores"


def write(writer: StoreWriter) -> Columns:
    numbers, codes = writer.sink(np.float64), writer.sink(np.int32)
    for start in range(0, N, 16):
        rows = np.arange(start, min(N, start + 16))
        numbers.append(rows / 2)
        codes.append((rows % 2).astype(np.int32))
    return {"n": StoredColumn(numbers.finish()), "t": StoredColumn(codes.finish(), ["a", "ü\0"])}


def opened(folder: Path, key: Any = 1, make: Any = write) -> Columns:
    return Stores(folder).open({"key": key}, title="x: converting", num_bytes=1000, num_columns=2, write=make)


def never(writer: StoreWriter) -> Columns:
    raise AssertionError("it is there already")


def names(folder: Path, pattern: str = "*") -> list[str]:
    return sorted(path.name for path in folder.glob(pattern) if path.is_dir())


def test_columns_are_written_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for make in (write, never):
        columns = opened(folder, make=make)
        np.testing.assert_array_equal(columns["n"].array[:], np.arange(N) / 2)
        np.testing.assert_array_equal(columns["t"].array[:], np.arange(N) % 2)
        assert columns["t"].texts == ["a", "ü\0"] and columns["n"].array.is_kept
    np.testing.assert_array_equal(np.load(columns["n"].array.path), np.arange(N) / 2)  # any program can read it
    printed = capsys.readouterr().err
    assert printed.count("x: converting: about 0 MiB into") == printed.count("x: converting: done in") == 1
    opened(folder, key=2)
    assert len(names(folder)) == 2


def test_a_column_without_rows(folder: Path) -> None:
    def make(writer: StoreWriter) -> Columns:
        return {"x": StoredColumn(writer.sink(np.float32, row_shape=(3,)).finish())}

    array = opened(folder, make=make)["x"].array
    assert (array.shape, array.dtype, np.load(array.path).shape) == ((0, 3), np.float32, (0, 3))


@pytest.mark.parametrize("damage", ["cut", "gone", "manifest", "edited", "texts"])
def test_a_damaged_store_is_written_again(damage: str, folder: Path) -> None:
    place = Path(opened(folder)["n"].array.path).parent
    if damage == "cut":
        with open(place / "0.npy", "r+b") as file:
            file.truncate(300)
    elif damage == "gone":
        (place / "1.npy").unlink()
    elif damage == "manifest":
        (place / "manifest.json").write_text("{")
    elif damage == "edited":
        manifest = (place / "manifest.json").read_text()
        (place / "manifest.json").write_text(manifest.replace("<f8", "<i8"))
    else:
        (place / "1.json").write_text('["a", "b"]')
    columns = opened(folder)
    np.testing.assert_array_equal(columns["n"].array[:], np.arange(N) / 2)
    assert columns["t"].texts == ["a", "ü\0"]


def test_a_full_disk_leaves_nothing(folder: Path) -> None:
    for count in range(1, 20):
        set_failpoint(f"io:{count}=full+")
        try:
            opened(folder)
        except ResourceError as error:
            assert "can't be written: No space left on device" in str(error)
            assert names(folder) == [] or count > 12  # from then on all is written but the name of the folder
        else:
            break
    else:
        pytest.fail("the disk was full all the time")
    assert len(names(folder)) == 1


def test_errors_of_the_source_leave_nothing(folder: Path) -> None:
    def make(writer: StoreWriter) -> Columns:
        write(writer)
        raise DataError("row 7 can't be read")

    with pytest.raises(DataError, match="row 7"):
        opened(folder, make=make)
    assert names(folder) == []


Usage = namedtuple("Usage", "total used free")


def test_room_is_checked_before_and_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Path(opened(folder, key="old")["n"].array.path).parent
    recent = Path(opened(folder, key="recent")["n"].array.path).parent
    os.utime(old / "manifest.json", (0, time.time() - 2 * store.RECENT_SECONDS))
    room = store.ROOM_BYTES

    def usage(path: Any) -> Usage:
        return Usage(room, 0, room + 1000 - 100 * len(names(folder, "????*")))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(
        ResourceError, match="the disk has no room. x: converting needs about 256 MiB. Received: 256 MiB"
    ):
        opened(folder)
    assert names(folder) == [recent.name]  # what was used lately stays
    monkeypatch.undo()
    opened(folder)
    assert len(names(folder)) == 2


def test_what_is_no_longer_used_is_removed(folder: Path) -> None:
    unused = Path(opened(folder, key="unused")["n"].array.path).parent
    used = Path(opened(folder, key="used")["n"].array.path).parent
    for place in (unused, used):
        os.utime(place / "manifest.json", (0, time.time() - 2 * store.UNUSED_SECONDS))
    opened(folder, key="used")  # now it is
    array = StoredArray(str(unused / "0.npy"), 256, shape=(N,), dtype=float)
    opened(folder, key="new")
    assert unused.name not in names(folder) and used.name in names(folder)
    assert array[:3].tolist() == [0, 0.5, 1]  # a process that reads it can go on


CODE = """
import sys, time
from pathlib import Path
import numpy as np
from tfrun.data.store import StoredColumn, Stores
folder, go = map(Path, sys.argv[1:])
def write(writer):
    sink = writer.sink(np.float64)
    sink.append(np.arange(5.0))
    (folder / "began").touch()
    while not go.exists():
        time.sleep(0.01)
    return {"n": StoredColumn(sink.finish())}
columns = Stores(folder).open({"key": 1}, title="rows", num_bytes=1, num_columns=1, write=write)
print(columns["n"].array[:].tolist())
"""


def start(*args: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CODE, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_a_second_process_waits_and_a_killed_one_leaves_nothing_that_counts(folder: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    killed = start(folder, go)
    wait_for(folder / "began")
    killed.kill()
    killed.wait()
    assert names(folder, "*.partial")
    (folder / "began").unlink()

    first = start(folder, go)
    wait_for(folder / "began")
    second = start(folder, go)
    assert second.stderr is not None
    line = second.stderr.readline()
    assert line == f"rows: waits for process {first.pid}, which does the same\n"
    go.touch()
    for process in (first, second):
        out, error = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "[0.0, 1.0, 2.0, 3.0, 4.0]\n"), error
    assert "converting" not in line and names(folder, "*.partial") == []
    assert len(names(folder)) == 1


def write_parquet(path: Path) -> str:
    generator = np.random.default_rng(0)
    columns = {
        "n": pa.array([None, *range(1, N)], pa.int32()),
        "t": pa.array(["a", "b", None, "NA"] * (N // 4)),
        "x": pa.array(generator.normal(size=(N, 3)).tolist()),
        "kind": pa.array([k % 2 for k in range(N)]),
        "y": pa.array(generator.normal(size=N)),
    }
    pq.write_table(pa.table(columns), path, row_group_size=7)
    return str(path)


def read(path: str, stores: Stores | None = None, target: Any = "y") -> Table:
    return parquet(path, target, missing=["NA"], stores=stores)


@pytest.mark.parametrize("target", ["y", "kind", ["y", "t"]])
def test_a_table_of_a_store_is_that_of_the_memory(
    target: Any, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFRUN_DATA_MEMORY", "100")
    path = write_parquet(tmp_path / "x.parquet")
    expected, stored = read(path, target=target), read(path, Stores(folder), target)
    assert isinstance(stored.columns["n"], StoredArray)
    assert target == ["y", "t"] or isinstance(stored.columns["t"], StoredTexts)
    for name, column in expected.columns.items():
        assert stored.columns[name].dtype == column.dtype
        np.testing.assert_array_equal(stored.columns[name][:], column)
    for name, values in expected.targets.items():
        np.testing.assert_array_equal(stored.targets[name].values, values.values)
    assert fingerprint(stored) == fingerprint(expected)
    rows = np.array([5, 3, 30])
    selected = stored.select(rows)
    assert fingerprint(selected) == fingerprint(expected.select(rows))


def test_the_fingerprint_is_remembered(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFRUN_DATA_MEMORY", "100")
    path = write_parquet(tmp_path / "x.parquet")
    expected = fingerprint(read(path, Stores(folder)))
    place = known_fingerprints.place_of(read(path, Stores(folder)).columns.items())
    assert place is not None and len(list(place.parent.iterdir())) == 1
    (kept,) = place.parent.iterdir()
    kept.write_text("0" * 64)
    assert fingerprint(read(path, Stores(folder))) == "0" * 64  # it is what was remembered
    kept.write_text("torn")
    assert fingerprint(read(path, Stores(folder))) == expected
    assert fingerprint(read(path, Stores(folder), "kind")) != expected


def test_a_source_that_changes_is_converted_again(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFRUN_DATA_MEMORY", "100")
    path = write_parquet(tmp_path / "x.parquet")
    for _ in range(2):
        read(path, Stores(folder))
    assert len(names(folder, store.KEY_PATTERN)) == 1
    os.utime(path, (0, 0))
    read(path, Stores(folder))
    assert len(names(folder, store.KEY_PATTERN)) == 2
    assert isinstance(read(path, Stores(folder, is_on=False)).columns["n"], np.ndarray)


def test_a_source_larger_than_the_memory_needs_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfrun.host_memory.total_bytes", lambda: 100.0)
    with pytest.raises(ResourceError, match=re.escape("data.cache=auto keeps the data on disk")):
        read(write_parquet(tmp_path / "x.parquet"), Stores(tmp_path, is_on=False))


def test_an_infinite_number_is_named_before_anything_is_kept(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFRUN_DATA_MEMORY", "100")
    pq.write_table(pa.table({"x": [1.0] * 30 + [np.inf] * 10, "y": list(range(N))}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet: row 30 of row group 0, column 'x': not finite"):
        read(str(tmp_path / "x.parquet"), Stores(folder))
    assert names(folder) == []
