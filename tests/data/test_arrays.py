"""Arrays on disk give what NumPy gives, whatever is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tfrun.data import arrays
from tfrun.data.arrays import StoredArray
from tfrun.errors import DataError

OFFSET = 7  # odd on purpose


def store(path: Path, array: np.ndarray) -> StoredArray:
    path.write_bytes(b"\0" * OFFSET + array.tobytes())
    return StoredArray(str(path), OFFSET, shape=array.shape, dtype=array.dtype)


def is_aligned(array: np.ndarray) -> bool:
    return array.ctypes.data % 64 == 0 and array.flags.c_contiguous and array.flags.writeable


@pytest.fixture(params=["float32 (5000, 3)", "uint8 (3000, 4, 700)", "float64 (50, 40000)", "bool (200, 1)"])
def expected(request: pytest.FixtureRequest) -> np.ndarray:
    """Rows that are small, near a page, larger than what one call is worth, and bytes."""
    dtype, shape = request.param.split(" ", 1)
    shape = tuple(int(length) for length in shape.strip("()").split(","))
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), (1000, 7, 2)])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float64"])
def test_aligned_empty(shape: tuple[int, ...], dtype: str) -> None:
    array = arrays.aligned_empty(shape, dtype)
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype)) and is_aligned(array)


def test_what_it_is(tmp_path: Path, expected: np.ndarray) -> None:
    stored = store(tmp_path / "a", expected)
    assert (stored.shape, stored.dtype, stored.ndim) == (expected.shape, expected.dtype, expected.ndim)
    assert (stored.nbytes, len(stored)) == (expected.nbytes, len(expected))
    np.testing.assert_array_equal(np.asarray(stored), expected)


def test_read(tmp_path: Path, expected: np.ndarray) -> None:
    stored = store(tmp_path / "a", expected)
    for start, stop in ((0, len(expected)), (0, 0), (3, 4), (11, 47)):
        rows = stored.read(start, stop)
        assert is_aligned(rows) and rows.dtype == expected.dtype
        np.testing.assert_array_equal(rows, expected[start:stop])
    np.testing.assert_array_equal(stored[:2], expected[:2])
    np.testing.assert_array_equal(stored[-2:], expected[-2:])
    np.testing.assert_array_equal(stored[5:3], expected[5:3])


@pytest.mark.parametrize("count", [0, 1, 2, 32, 1000])
def test_take(tmp_path: Path, expected: np.ndarray, count: int) -> None:
    stored = store(tmp_path / "a", expected)
    generator = np.random.default_rng(count)
    for rows in (
        generator.permutation(len(expected))[:count].astype(np.int32),
        generator.integers(0, len(expected), count),  # some of them twice
        np.arange(len(expected))[:count],
        np.arange(len(expected))[::-1][:count],
        np.zeros(count, np.int64),
    ):
        taken = stored.take(rows)
        assert is_aligned(taken) and taken.dtype == expected.dtype
        np.testing.assert_array_equal(taken, expected[rows])


def test_rows_that_are_not_there(tmp_path: Path, expected: np.ndarray) -> None:
    stored = store(tmp_path / "a", expected)
    for rows in ([0, len(expected)], [-1]):
        with pytest.raises(IndexError, match="rows from 0 to"):
            stored.take(np.array(rows))


def test_take_where_the_file_system_cannot_tell_what_is_in_memory(
    tmp_path: Path, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    preadv = os.preadv

    def without_flags(file: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        if flags:
            raise OSError
        return preadv(file, buffers, offset)

    stored = store(tmp_path / "a", expected)
    monkeypatch.setattr(os, "preadv", without_flags)
    rows = np.random.default_rng(0).permutation(len(expected))[:20]
    np.testing.assert_array_equal(stored.take(rows), expected[rows])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("on_disk", [False, True])
def test_conversion(
    tmp_path: Path, expected: np.ndarray, dtype: str, on_disk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(arrays, "TAKE_BYTES", 3000)
    array = store(tmp_path / "a", expected) if on_disk else expected
    rows = np.random.default_rng(0).permutation(len(expected))
    for made, wanted in (
        (arrays.load(array, dtype), expected),
        (arrays.take(array, rows, dtype=dtype), expected[rows]),
    ):
        assert is_aligned(made) and made.dtype == dtype
        np.testing.assert_array_equal(made, wanted.astype(dtype))


def test_what_is_loaded_already_is_not_copied() -> None:
    array = arrays.aligned_empty((4, 2), "float32")
    assert arrays.load(array, "float32") is array
    for other in (array[1:], array.T, array.astype("float64")):  # elsewhere, in another order, of another type
        assert not np.shares_memory(arrays.load(other, "float32"), array)


def test_blocks_cover_all_rows_in_order() -> None:
    array = np.zeros((1000, 3), "float32")
    parts = list(arrays.blocks(array, 120))
    assert [(part.start, part.stop) for part in parts[:2]] == [(0, 10), (10, 20)] and parts[-1].stop == 1000
    assert list(arrays.blocks(np.zeros((0, 3)))) == [] and len(list(arrays.blocks(array, 1))) == 1000


def test_a_file_that_is_too_short(tmp_path: Path) -> None:
    array = np.arange(1000.0).reshape(100, 10)
    stored = store(tmp_path / "a", array)
    os.truncate(tmp_path / "a", 5000)
    for read in (lambda: stored.read(0, 100), lambda: stored.take(np.array([99]))):
        with pytest.raises(DataError, match=r"the file ends within the array \(100, 10\) of float64"):
            read()
    np.testing.assert_array_equal(stored.read(0, 5), array[:5])
    with pytest.raises(DataError, match="the file ends within"):
        StoredArray(str(tmp_path / "a"), OFFSET, shape=array.shape, dtype=array.dtype)


def test_threads_and_forked_processes_share_one(tmp_path: Path) -> None:
    array = np.arange(200_000).reshape(20_000, 10)
    stored = store(tmp_path / "a", array)
    (tmp_path / "a").unlink()  # held open
    orders = [np.random.default_rng(seed).permutation(20_000) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for rows, taken in zip(orders, pool.map(stored.take, orders), strict=True):
            np.testing.assert_array_equal(taken, array[rows])
    child = os.fork()
    if child == 0:
        os._exit(0 if (stored.take(orders[0]) == array[orders[0]]).all() else 1)
    assert (stored.take(orders[1]) == array[orders[1]]).all()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_memory_of_an_array_on_disk(tmp_path: Path) -> None:
    """400 MB of bytes are read through and taken from in less than 100 MB, and loaded as one copy."""
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(400_000_000)  # a hole: no disk is used
    code = f"""
import numpy as np
from tfrun.data.arrays import StoredArray, blocks, load, take

def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

before = peak()
stored = StoredArray({str(path)!r}, 0, shape=(400_000, 1000), dtype="uint8")
for rows in blocks(stored):
    assert not stored[rows].any()
take(stored, np.arange(0, 400_000, 40), dtype="float32")
assert peak() - before < 100e6, peak() - before
before = peak()
array = load(stored, "float16")
assert 700e6 < peak() - before < 1000e6, peak() - before
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_tensorflow() -> None:
    code = "import sys, tfrun.data.arrays; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_selected_rows_stay_on_disk(tmp_path: Path) -> None:
    expected = np.arange(60.0).reshape(20, 3)
    rows = np.array([17, 2, 3, 19, 0])
    selected = arrays.select(store(tmp_path / "a", expected), rows)
    assert isinstance(selected, StoredArray)
    assert (selected.shape, len(selected), selected.nbytes) == ((5, 3), 5, 120)
    np.testing.assert_array_equal(selected[1:4], expected[[2, 3, 19]])
    np.testing.assert_array_equal(selected[np.array([4, 0])], expected[[0, 17]])
    np.testing.assert_array_equal(arrays.load(selected, "float32"), expected[rows].astype("float32"))
    np.testing.assert_array_equal(arrays.load(selected, "float64"), expected[rows])
    np.testing.assert_array_equal(arrays.take(selected, np.array([1]), dtype="float64"), expected[[2]])
    again = arrays.select(selected, np.array([3, 1]))
    np.testing.assert_array_equal(again[0:2], expected[[19, 2]])
