"""Windows as an array, beside NumPy's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tfrun.data.arrays import JoinedArray, StoredArray, take
from tfrun.data.kinds.image import ImageColumn, ScaledArray
from tfrun.data.window_array import WindowArray

VALUES = np.arange(40, dtype=np.float32).reshape(20, 2)


@pytest.mark.parametrize("is_stored", [False, True])
def test_windows_are_those_of_a_sliding_window(is_stored: bool, tmp_path: Path) -> None:
    values: np.ndarray | StoredArray = VALUES
    if is_stored:
        (tmp_path / "values").write_bytes(VALUES.tobytes())
        values = StoredArray(str(tmp_path / "values"), 0, shape=VALUES.shape, dtype=np.float32)
    starts = np.array([3, 0, 11], np.int32)
    array = WindowArray(values, starts, offset=2, length=5)
    expected = np.lib.stride_tricks.sliding_window_view(VALUES, 5, axis=0).transpose(0, 2, 1)[starts + 2]
    assert (array.shape, len(array), array.dtype) == ((3, 5, 2), 3, np.float32)
    np.testing.assert_array_equal(array[np.arange(3)], expected)
    np.testing.assert_array_equal(take(array, np.array([2, 0]), dtype=np.float64), expected[[2, 0]])  # type: ignore[arg-type]


def test_what_comes_after_the_last_row_is_that_row() -> None:
    array = WindowArray(VALUES[:, 0], np.array([17]), offset=2, length=3)
    assert array[np.array([0])].tolist() == [[38, 38, 38]]


@pytest.mark.parametrize("spacing", [1, 30])
@pytest.mark.parametrize("layout", ["whole", "selected", "joined", "scaled"])
def test_windows_on_disk_are_those_in_memory(
    layout: str, spacing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of windows that lie over each other and are read at once, and of such that are read one by one."""
    monkeypatch.setattr("tfrun.data.arrays.BLOCK_BYTES", 1600)  # of 100 rows
    monkeypatch.setattr("tfrun.data.arrays.CALL_BYTES", 10)
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 200, (700, 4)).astype(np.float32)
    (tmp_path / "rows").write_bytes(rows.tobytes())
    stored = StoredArray(str(tmp_path / "rows"), 0, shape=rows.shape, dtype=np.float32)
    if layout == "selected":
        numbers = generator.permutation(700)
        stored, rows = stored.select(numbers), rows[numbers]
    elif layout == "joined":
        stored, rows = JoinedArray([stored, rows[:90]]), np.concatenate([rows, rows[:90]])
    elif layout == "scaled":
        stored, rows = (
            ScaledArray(stored, ImageColumn("x", (4,), (0.5,), (1.0,)), np.float32),
            rows * np.float32(0.5) + 1,
        )
    starts = generator.permutation(np.arange(0, len(rows) - 6, spacing))
    windows = np.lib.stride_tricks.sliding_window_view(rows, 7, axis=0).transpose(0, 2, 1)[starts]
    np.testing.assert_array_equal(WindowArray(stored, starts, offset=0, length=7)[np.arange(len(starts))], windows)
    assert stored.take_windows(starts[:0], 7).shape == (0, 7, 4)
