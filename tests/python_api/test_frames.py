from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tfrun.python_api import frames


@pytest.mark.parametrize(
    ("installed", "expected"),
    [(("pandas", "polars"), "pandas"), (("polars",), "polars"), ((), "records")],
)
def test_the_installed_library_makes_frames(
    installed: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        frames, "find_spec", lambda name: importlib.util.find_spec("sys") if name in installed else None
    )
    assert frames.default_kind(without="records") == expected


def test_rows_have_a_kind() -> None:
    assert frames.kind_of(pd.DataFrame()) == "pandas"
    assert frames.kind_of(pl.DataFrame()) == "polars"
    assert frames.kind_of({"x": [1]}) == "columns"
    assert frames.kind_of("rows.csv") == "pandas"


def test_columns_become_frames() -> None:
    columns: dict[str, Any] = {"x": np.array([1.5, 2.5]), "y": ["a", None], "z": [[1], [2, 3]], "n": [1, 2]}
    assert frames.as_frame(columns, "records") == [
        {"x": 1.5, "y": "a", "z": [1], "n": 1},
        {"x": 2.5, "y": None, "z": [2, 3], "n": 2},
    ]
    frame = frames.as_frame(columns, "pandas", index=["p", "q"])
    assert frame["x"].to_dict() == {"p": 1.5, "q": 2.5} and frame["z"].tolist() == [[1], [2, 3]]
    assert frames.as_frame(columns, "polars")["y"].to_list() == ["a", None]
    arrays = frames.as_frame(columns, "columns")
    assert arrays["z"].tolist() == [[1], [2, 3]] and arrays["n"].dtype.kind == "i"
    assert frames.as_frame({"x": []}, "records") == []


def test_cells_of_different_types_become_a_frame() -> None:
    """Runs may have an activation, a list or nothing in one config key."""
    columns = {"key": ["relu", 3, None, [1, 2], 0.5]}
    assert frames.as_frame(columns, "pandas")["key"].tolist() == columns["key"]
    assert len(frames.as_frame(columns, "polars")) == 5
