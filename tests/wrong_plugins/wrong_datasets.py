"""Data sets that are wrong on purpose, each in one way; `test_wrong_components.py` names what each breaks."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from tfrun import register
from tfrun.table import Table

ROWS = 40
COUNT = itertools.count()
X = np.linspace(-1.0, 1.0, ROWS)


def table(columns: dict[str, Any] | None = None, target: Any = None, task: str = "regression") -> Table:
    return Table(columns or {"x": X}, X**2 if target is None else target, "y", task, "wrong")


@register.dataset("short_column")
def short_column() -> Table:
    return table({"x": X, "z": X[3:]})


@register.dataset("tall_target")
def tall_target() -> Table:
    return table(target=X[:, None] ** 2)


@register.dataset("nan_target")
def nan_target() -> Table:
    return table(target=np.where(np.arange(ROWS) == 5, np.nan, X**2))


@register.dataset("single_precision")
def single_precision() -> Table:
    return table({"x": X.astype("float32")})


@register.dataset("infinite")
def infinite() -> Table:
    return table({"x": np.where(np.arange(ROWS) == 5, np.inf, X)})


@register.dataset("mixed_cells")
def mixed_cells() -> Table:
    return table({"x": X, "kind": np.array([1, "a"] * (ROWS // 2), dtype=object)})


@register.dataset("other_each_time")
def other_each_time() -> Table:
    return table({"x": X + next(COUNT)})


@register.dataset("numbered_classes")
def numbered_classes() -> Table:
    return table(target=np.arange(ROWS) % 2, task="classification")


@register.dataset("no_table")
def no_table() -> Any:
    return None


@register.dataset("no_task")
def no_task() -> Table:
    return table(task="ranking")


@register.dataset("no_columns")
def no_columns() -> Any:
    return Table({}, X**2, "y", "regression", "wrong")
