"""Exports are compared on rows with empty and unknown cells too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tfrun.engine.inference.exporting.compared_rows import MAX_CHANGED


def test_rows_follow_once_more_with_changed_cells(untrained: Callable[..., Any]) -> None:
    kinds = "data.kinds={note: {name: tokens, length: 3}}"
    of = untrained("model=wide_deep", "data.target=y", "data.exclude=[street,hashed,flag,size,day,far,kind]", kinds)
    numbers, cities, notes = (of.columns[name] for name in ("a b", "city", "note"))
    num_rows = len(numbers) - MAX_CHANGED
    assert num_rows == 64
    first, changed = slice(0, MAX_CHANGED), slice(num_rows, None)
    assert np.isnan(numbers[changed])[0::3].all() and cities[changed][1:-1:3].tolist() == [""] * 5
    unknown = cities[changed][2:-1:3]
    assert len(set(unknown)) == 1 and unknown[0] not in cities[first]
    assert cities[-1] == next(column for column in of.fitted.columns if column.name == "city").values[-1]
    word = next(column for column in of.fitted.columns if column.name == "note").words[-1]
    assert notes[-1] == f"{word} {word}"  # which some runtimes would count once
    assert len(of.expected["output"]) == len(numbers) and np.isfinite(of.expected["output"]).all()


def test_arrays_have_no_empty_cells(untrained: Callable[..., Any]) -> None:
    of = untrained("data=digits", "loss=sparse_categorical_crossentropy", "metric=none", "model=linear")
    assert len(of.rows["image"]) == 64
