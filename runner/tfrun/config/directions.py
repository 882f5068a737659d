"""Whether a smaller or a greater value of a monitored metric is better, as the metric itself says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from tfrun.config.catalog import Catalog
from tfrun.config.settings import ComponentSettings, GroupSettings, MetricSettings

Mode = Literal["min", "max"]


def mode_of(monitor: str, metrics: Mapping[str, MetricSettings], *, catalog: Catalog) -> Mode:
    """Returns `max` if a greater value of a monitored metric is a better one, else `min`, as for the loss.

    Args:
        monitor: `val/` or `train/`, and `loss` or the key of a metric. A name that doesn't exist is refused elsewhere.
        metrics: the config's metrics by key.
        catalog: the components that exist.
    """
    key = monitor.partition("/")[2]
    if key not in metrics:
        return "min"
    is_higher_better = catalog.get("metric", metrics[key].name, where=f"metric.{key}").declared("higher_is_better")
    return "max" if is_higher_better else "min"


def higher_is_better(metrics: Mapping[str, MetricSettings], catalog: Catalog) -> dict[str, bool]:
    """Returns for the loss and the key of each metric whether a greater value is better, for `run.json`."""
    return {key: mode_of(f"val/{key}", metrics, catalog=catalog) == "max" for key in ("loss", *metrics)}


def with_mode(group: GroupSettings, metrics: Mapping[str, MetricSettings], *, catalog: Catalog) -> GroupSettings:
    """Returns an optimizer group whose schedule, if it monitors a value and leaves `mode` null, gets its mode."""
    schedule = group.schedule
    params = schedule.params if schedule else {}
    if schedule is None or "monitor" not in params or "mode" not in params or params["mode"] is not None:
        return group
    mode = mode_of(str(params["monitor"]), metrics, catalog=catalog)
    return replace(group, schedule=ComponentSettings(schedule.name, params | {"mode": mode}))
