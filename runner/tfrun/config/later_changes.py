"""Names the changes of tfrun since a run that change its numbers although its config is the same.

For most changes a run keeps the meaning that it began with (`config.earlier_runs`). Those here mended faults, so a run
that is trained again gets other numbers than it had.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfrun.config.settings import Settings
from tfrun.files.run_json import IDLE_LAYERS, OFFSETS, TABLE_UPDATES

FTRL = "ftrl"
FROM_ZERO = {"wide_deep": ("wide",)}  # optimizer groups of earlier versions whose weights begin at 0
ADDED_IN_PARTS = 1024  # more validation rows than these were added up in other parts


def changes_since(run: Mapping[str, Any], settings: Settings, *, has_record: bool) -> list[str]:
    """Returns sentences on what has changed in the numbers of a run of an earlier version; empty if nothing has.

    Args:
        run: its `run.json`.
        settings: its config.
        has_record: whether it has a record of its provenance; the first version that writes one also mended FTRL.
    """
    groups = {name: group for name, group in settings.groups.items() if group.name == FTRL and not group.frozen}
    from_zero = FROM_ZERO.get(settings.model.name, ())
    changes = []
    if not has_record and any(group.schedule is not None for group in groups.values()):
        changes.append("ftrl with a schedule no longer changes weights without a gradient")
    if IDLE_LAYERS not in run and any(name not in from_zero for name in groups):
        changes.append("ftrl starts from the first weights instead of from 0")
    if TABLE_UPDATES not in run and any(metric.name == "auc" for metric in settings.metric.values()):
        changes.append("auc has finer bins")
    if OFFSETS not in run and settings.strategy.name == "mirrored":
        changes.append("replicas draw different numbers, and share their averages")
    if OFFSETS not in run and _rows(run) > ADDED_IN_PARTS:
        changes.append("validation rows are added up in other parts, which changes last digits")
    return changes


def _rows(run: Mapping[str, Any]) -> int:
    """Returns the number of validation rows that `run.json` says, or 0."""
    data = run.get("data")
    rows = data.get("val") if isinstance(data, dict) else None
    return rows if isinstance(rows, int) else 0
