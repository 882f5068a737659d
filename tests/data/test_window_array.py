"""Windows as an array, beside NumPy's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tfrun.data.arrays import StoredArray, take
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
