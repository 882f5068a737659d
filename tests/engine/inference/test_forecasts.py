"""The columns of a forecast, of models whose weights are set here; `test_windows.py` compares a trained one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.data.table import Series
from tfrun.data.window_array import WindowArray
from tfrun.data.windows import Window, newest_windows
from tfrun.engine.inference import forecasts

WINDOW = "data.window={length: 4, horizon: 2, by: shop, time: %s}"
WORDS = ["data=csv", "data.path=shops.csv", "data.target=sold", "metric=none"]


@pytest.mark.parametrize(
    ("times", "has_times"), [([*range(1, 31), *range(1, 31)], True), ([*range(1, 31), *range(1, 30), 99], False)]
)
def test_the_columns_of_a_forecast(
    times: list[int], has_times: bool, small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{'ab'[k // 30]},{time},{k % 30}" for k, time in enumerate(times)]
    (tmp_path / "shops.csv").write_text("\n".join(["shop,step,sold", *rows]) + "\n")
    pieces = small.pieces(*WORDS, WINDOW % "step", "model=seasonal_naive", "model.period=3", "data.batch_size=4")
    pieces_with_rows = _over_newest(pieces)
    window = Window(4, 2, ("sold",))
    columns = forecasts.columns(pieces_with_rows, pieces.table.series, names=["sold"], window=window)
    expected: dict[str, list[Any]] = {"shop": ["a", "a", "b", "b"]}
    expected |= {"step": ["31", "32", "31", "32"], "step_": [1, 2, 1, 2]} if has_times else {"step": [1, 2, 1, 2]}
    assert {name: list(column) for name, column in columns.items() if name != "sold"} == expected
    np.testing.assert_allclose(columns["sold"], [27, 28, 27, 28], rtol=1e-5)  # three rows before


def _over_newest(pieces: Any) -> Any:
    """Returns pieces over the newest window of each series."""
    examples = pieces.examples
    starts = newest_windows(pieces.table, examples.preprocessing.window).starts
    inputs = WindowArray(examples.inputs.values, starts, offset=0, length=4)
    targets = WindowArray(examples.targets.values, starts, offset=4, length=2)
    return dataclasses.replace(pieces, examples=dataclasses.replace(examples, inputs=inputs, targets=targets))


def test_series_that_are_too_short_are_skipped() -> None:
    series = Series(np.array([0, 3, 8]), ("a", "b"), None, "t", np.array(["1", "2", "3", "1", "2", "3", "4", "5"]))
    times = forecasts._times(series, np.array([1]), window=Window(4, 2, ("y",)))
    assert times == ["6", "7"]
