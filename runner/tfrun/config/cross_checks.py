"""Checks what no key shows alone: keys against each other and against the data's task."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tfrun.config.automatic import ANY_LOSS
from tfrun.config.catalog import Catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.data_settings import DataSettings
from tfrun.config.keys import check_name
from tfrun.config.settings import Settings
from tfrun.config.split_checks import check_split, has_validation_rows
from tfrun.errors import ConfigError, near_miss
from tfrun.protocols import MAIN_OUTPUT


def check_together(settings: Settings, catalog: Catalog, *, metrics_are_known: bool = True) -> None:
    """Raises ConfigError if keys that are right alone are wrong together.

    Args:
        settings: the config.
        catalog: the components.
        metrics_are_known: False if the metrics are those of all tasks, as the data haven't been read.
    """
    check_name("name", settings.name)
    data = settings.data
    if data.window is not None and data.sample_weight is not None:
        raise ConfigError(
            "data.sample_weight: windows of a series (data.window), which have many rows each, can't be weighted. "
            f"Received: {data.sample_weight!r}. Leave it out: data.sample_weight=null"
        )
    profile = settings.trainer.profile
    if profile is not None and not 0 <= profile[0] < profile[1]:
        raise ConfigError(
            "trainer.profile: must be two numbers of steps, 0 <= first < last, for example [10,20]. "
            f"Received: {list(profile)}"
        )
    _check_workers(settings)
    _check_monitors(settings)
    _check_augmentations(settings, catalog)
    dataset = catalog.get("dataset", data.name, where="data.name")
    check_split(data, dataset)
    chosen = settings if metrics_are_known else replace(settings, metric={})
    check_task(chosen, catalog, task=known_task(data, catalog))


def _check_workers(settings: Settings) -> None:
    """Raises ConfigError for what can't be done by several workers together."""
    if not settings.strategy.has_workers:
        return
    if settings.trainer.compile == "xla":
        raise ConfigError(
            "trainer.compile: strategy=multi_worker exchanges gradients in each step, which XLA can't compile. "
            "Received: xla. Use auto or graph"
        )
    if settings.logger is not None and settings.logger.histograms_every_epochs is not None:
        raise ConfigError(
            "logger.histograms_every_epochs: not with strategy=multi_worker, whose workers would have to compute "
            f"gradients together. Received: {settings.logger.histograms_every_epochs}. Use null"
        )


def known_task(data: DataSettings, catalog: Catalog) -> str | None:
    """Returns the task of a data set as far as it is known before the data are read; "auto" or None if it isn't."""
    task: str | None = data.params.get("task") or catalog.get("dataset", data.name, where="data.name").declared("task")
    return task


def _check_augmentations(settings: Settings, catalog: Catalog) -> None:
    """Raises ConfigError for augmentations that mix targets, if the algorithm doesn't learn those."""
    algorithm = catalog.get("algorithm", settings.algorithm.name, where="algorithm.name")
    for k, augmentation in enumerate(settings.data.augment):
        where = f"data.augment.{k}"
        mixes = catalog.get("augmentation", augmentation.name, where=where).declared("mixes")
        if mixes and algorithm.declared("own_targets"):
            raise ConfigError(
                f"{where}: an augmentation that mixes rows mixes their targets too, which algorithm={algorithm.name} "
                f"doesn't learn. Received: {augmentation.name}"
            )
        if mixes and augmentation.column is not None:
            raise ConfigError(
                f"{where}.column: {augmentation.name} mixes whole rows, so it changes all columns. "
                f"Received: {augmentation.column!r}"
            )


def _check_monitors(settings: Settings) -> None:
    """Raises ConfigError if a monitored value doesn't exist, or would need validation rows that don't."""
    known = monitored_values(settings)
    monitors: dict[str, str | None] = {"checkpoint": settings.checkpoint.monitor}
    if settings.early_stopping:
        monitors["early_stopping"] = settings.early_stopping.monitor
    for name, group in settings.groups.items():
        if group.schedule and "monitor" in group.schedule.params:
            monitors[f"optimizer.groups.{name}.schedule"] = group.schedule.params["monitor"]
    for where, monitor in monitors.items():
        if monitor not in known:
            raise ConfigError(
                f"{where}.monitor: no such value. Received: {monitor!r}. Known: {', '.join(known)}."
                f"{near_miss(monitor, known)}"
            )
        # without validation rows there is no best checkpoint to choose, which is no mistake
        has_rows = has_validation_rows(settings.data) or where == "checkpoint"
        if monitor.startswith("val/") and not has_rows:
            raise ConfigError(f"{where}.monitor: {monitor} needs validation rows. Received: data.validation_split=0")


def monitored_values(settings: Settings) -> list[str]:
    """Returns the names of the values that a run has at each epoch's end, `val/loss` first."""
    return [f"{split}/{value}" for split in ("val", "train") for value in ("loss", *settings.metric)]


def is_comparable(value: str, keys: Collection[str]) -> bool:
    """Returns whether a monitored value means the same in runs that differ in the given keys.

    The loss doesn't if losses differ: a smaller one only says that it has a smaller unit.
    """
    return not (value.endswith("/loss") and any(key.partition(".")[0] == "loss" for key in keys))


def check_task(settings: Settings, catalog: Catalog, *, task: str | None) -> None:
    """Raises ConfigError for a loss or a metric of the other task.

    Called once more when the data has been read, since a data set may find out its task only then.
    """
    algorithm = catalog.get("algorithm", settings.algorithm.name, where="algorithm.name")
    if algorithm.declared("own_targets"):
        if settings.metric:
            raise ConfigError(
                f"metric: algorithm={algorithm.name} doesn't learn the data's target, which metrics compare with. "
                f"Received: {', '.join(settings.metric)}. Use metric=none"
            )
        if settings.data.class_weight is not None:
            raise ConfigError(
                f"data.class_weight: algorithm={algorithm.name} doesn't learn the data's target. "
                f"Received: {settings.data.class_weight}"
            )
        return
    used: dict[str, tuple[str, ComponentSettings]] = {}
    if settings.loss is not ANY_LOSS:
        used["loss"] = "loss", settings.loss
    used |= {
        f"metric.{key}": ("metric", metric)
        for key, metric in settings.metric.items()
        if metric.output == MAIN_OUTPUT  # what the others measure is known only to the model
    }
    for where, (kind, chosen) in used.items():
        its_task = catalog.get(kind, chosen.name, where=where).declared("task")
        if task in ("regression", "classification") and its_task not in (None, task):
            fitting = [
                other for other in catalog.names(kind) if catalog.get(kind, other, where=where).declared("task") == task
            ]
            raise ConfigError(
                f"{where}: {chosen.name} is for {its_task}, and the target of data={settings.data.name} is for {task}. "
                f"Known {kind} for {task}: {', '.join(fitting)}; metric={task} sets fitting metrics"
            )
