"""What has changed since a run of an earlier version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tfrun.config.later_changes import changes_since
from tfrun.config.settings import Settings

OLD: dict[str, Any] = {"step": 30, "data": {"val": 44}}
LATE = {**OLD, "idle_layers": "as in inference", "table_updates": "by rows", "offsets": "float64"}
OF_SCHEDULE = "ftrl with a schedule no longer changes weights without a gradient"
OF_START = "ftrl starts from the first weights instead of from 0"


@pytest.mark.parametrize(
    ("words", "run", "has_record", "changes"),
    [
        (["model=wide_deep"], OLD, False, []),
        (["model=wide_deep", "optimizer.groups.wide.schedule=cosine"], OLD, False, [OF_SCHEDULE]),
        (["model=mlp", "optimizer=ftrl"], OLD, False, [OF_START]),
        (["model=mlp", "optimizer=ftrl"], LATE, False, []),
        (["model=mlp", "optimizer=ftrl", "optimizer.schedule=linear"], LATE, False, [OF_SCHEDULE]),
        (["model=mlp", "optimizer=ftrl", "optimizer.schedule=linear"], LATE, True, []),
        (["model=mlp", "optimizer=adam", "optimizer.schedule=linear"], OLD, False, []),
        (["metric=[auc]"], OLD, False, ["auc has finer bins"]),
        (["metric=[auc]"], LATE, False, []),
        (["strategy=mirrored"], OLD, False, ["replicas draw different numbers, and share their averages"]),
        (["strategy=mirrored"], LATE, False, []),
        (
            [],
            {"step": 1, "data": {"val": 1025}},
            False,
            ["validation rows are added up in other parts, which changes last digits"],
        ),
        ([], {"step": 1, "data": 3}, False, []),
    ],
)
def test_changes(
    settings: Callable[..., Settings], words: list[str], run: dict[str, Any], has_record: bool, changes: list[str]
) -> None:
    assert changes_since(run, settings(*words), has_record=has_record) == changes
