"""Whether a smaller or a greater value of a monitored metric is better, as the metric itself says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from tfrun.config.catalog import Catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.keras_names import KERAS_METRICS
from tfrun.config.settings import GroupSettings, MetricSettings, Settings
from tfrun.errors import ConfigError
from tfrun.protocols import MetricOffer

Mode = Literal["min", "max"]


def mode_of(monitor: str, metrics: Mapping[str, MetricSettings], *, catalog: Catalog) -> Mode | None:
    """Returns `max` if a greater value is a better one, `min` if a smaller one is, None if the metric doesn't say it.

    Args:
        monitor: `val/` or `train/`, and `loss`, of which less is better, or the key of a metric. A name that doesn't
            exist is refused elsewhere.
        metrics: the config's metrics by key.
        catalog: the components that exist.
    """
    key = monitor.partition("/")[2]
    if key not in metrics:
        return "min"
    metric = catalog.get("metric", metrics[key].name, where=f"metric.{key}")
    return as_mode(metric.declared("higher_is_better"))


def as_mode(higher_is_better: bool | None) -> Mode | None:
    """Returns `max` for metrics of which more is better, `min` for the others, None if it isn't known."""
    return None if higher_is_better is None else "max" if higher_is_better else "min"


def require_mode(
    where: str, monitor: str, *, given: Any, metrics: Mapping[str, MetricSettings], catalog: Catalog
) -> Mode:
    """Returns the mode that a config gives, or else that of the monitored metric.

    Args:
        where: the path of the mode in the config.
        monitor: the monitored value.
        given: the config's mode, or None.
        metrics, catalog: as for `mode_of`.

    Raises:
        ConfigError: neither the config nor the metric says which values are better.
    """
    mode: Mode | None = given or mode_of(monitor, metrics, catalog=catalog)
    if mode is None:
        name = metrics[monitor.partition("/")[2]].name
        metric = catalog.get("metric", name, where="metric")
        raise ConfigError(
            f"{where}: must be min or max, because metric={name} doesn't say whether a greater {monitor} is better. "
            f"Received: null. It says so with @register.metric({name!r}, higher_is_better=True) or False: "
            f"{metric.origin}"
        )
    return mode


def higher_is_better(metrics: Mapping[str, MetricSettings], catalog: Catalog) -> dict[str, bool | None]:
    """Returns whether a greater value is better, for the loss and the key of each metric; None if it isn't known."""
    modes = {key: mode_of(f"val/{key}", metrics, catalog=catalog) for key in ("loss", *metrics)}
    return {key: None if mode is None else mode == "max" for key, mode in modes.items()}


def direction_of(metric: Any) -> bool | None:
    """Returns whether a greater value of a metric object is better: as it says itself, or as its Keras class does."""
    said = MetricOffer.of(metric).higher_is_better
    names = (kind.__name__ for kind in type(metric).__mro__ if kind.__module__.startswith("keras."))
    return said if said is not None else next((KERAS_METRICS[name] for name in names if name in KERAS_METRICS), None)


def with_mode(
    where: str, group: GroupSettings, *, metrics: Mapping[str, MetricSettings], catalog: Catalog
) -> GroupSettings:
    """Returns an optimizer group whose schedule, if it monitors a value and leaves `mode` null, gets its mode.

    Raises:
        ConfigError: the metric has none.
    """
    schedule = group.schedule
    params = schedule.params if schedule else {}
    if schedule is None or "monitor" not in params or "mode" not in params or params["mode"] is not None:
        return group
    mode = require_mode(f"{where}.mode", str(params["monitor"]), given=None, metrics=metrics, catalog=catalog)
    return replace(group, schedule=ComponentSettings(schedule.name, params | {"mode": mode}))


def modes_against(settings: Settings, catalog: Catalog) -> list[str]:
    """Returns a warning if modes of a config call those values better that the monitored metric calls worse.

    The loss of an adversarial algorithm, the critic's in `gan`, is no better if it is smaller.
    """
    algorithm = catalog.get("algorithm", settings.algorithm.name, where="algorithm")
    is_adversarial = algorithm.declared("is_adversarial")
    against = [
        f"{where}.mode={mode}, but {contradiction(monitor, mode, settings.metric, catalog)}"
        for where, monitor, mode in _monitors(settings)
        if contradiction(monitor, mode, settings.metric, catalog)
        and not (is_adversarial and monitor.partition("/")[2] == "loss")
    ]
    return ["; ".join(against)] if against else []


def contradiction(monitor: str, mode: str, metrics: Mapping[str, MetricSettings], catalog: Catalog) -> str:
    """Returns what a metric says against a mode, or an empty text."""
    right = mode_of(monitor, metrics, catalog=catalog)
    if right is None or mode == right:
        return ""
    return f"a {'greater' if right == 'max' else 'smaller'} {monitor} is better"


def _monitors(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yields what monitors a value, the value, and the mode."""
    yield "checkpoint", settings.checkpoint.monitor, settings.checkpoint.mode
    if settings.early_stopping:
        yield "early_stopping", settings.early_stopping.monitor, settings.early_stopping.mode
    for name, group in settings.groups.items():
        params = group.schedule.params if group.schedule else {}
        if params.get("monitor") and params.get("mode"):
            yield f"optimizer.groups.{name}.schedule", str(params["monitor"]), str(params["mode"])
