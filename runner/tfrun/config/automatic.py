"""Resolves `auto` in a config: the loss, the metrics and the number of epochs follow from the data.

A config is checked twice: before the data are read, with `ANY_LOSS` and the metrics of all tasks in place of `auto`,
and after `resolve` with what `auto` has become. A run's `config.yaml` has the latter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfrun.config.catalog import Catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.defaults import shipped
from tfrun.config.settings import Settings
from tfrun.errors import ConfigError

AUTO = "auto"
ANY_LOSS = ComponentSettings(AUTO, {})  # stands for the loss as long as the data haven't been read
TASKS = ("regression", "classification")
TWO_CLASSES = "binary"
METRICS = {
    "regression": ("regression",),
    "classification": ("classification", TWO_CLASSES),
}  # files that a task may have
MIN_EPOCHS = 20
MIN_STEPS = 2000  # of a run: a small file has few steps in an epoch
WITHOUT_TARGETS = "huber"  # for an algorithm that learns something else than the data's target


@dataclass(frozen=True)
class DataFacts:
    """What the choices follow from.

    Attributes:
        classes: the model's output for a target -> the target's number of classes, 0 for numbers; the main one first.
        steps_per_epoch: the batches of an epoch.
    """

    classes: Mapping[str, int]
    steps_per_epoch: int

    @property
    def task(self) -> str:
        """The main target's."""
        return TASKS[self._num_classes > 0]

    @property
    def metrics(self) -> str:
        """The file of metrics for the main target."""
        return TWO_CLASSES if self._num_classes == 2 else self.task

    @property
    def _num_classes(self) -> int:
        return next(iter(self.classes.values()))


def is_auto_loss(section: Any) -> bool:
    """Returns whether a config's `loss` is `auto`. Raises ConfigError if it has parameters, too."""
    if not isinstance(section, dict) or section.get("name") != AUTO:
        return False
    if len(section) > 1:
        params = ", ".join(key for key in section if key != "name")
        raise ConfigError(f"loss: auto has no parameters. Received: {params}. Name the loss, for example loss=huber")
    return True


def with_all_metrics(metrics: dict[str, Any], task: str | None) -> dict[str, Any]:
    """Returns a config's metrics with those of a task in the place of `auto`, so that they can be monitored.

    Args:
        metrics: the config's.
        task: what the data set, or the config, says of it before the data are read; None stands for all tasks.
    """
    if AUTO not in metrics:
        return metrics
    files = [file for known in TASKS if task == known or task not in TASKS for file in METRICS[known]]
    return {key: item for file in files for key, item in metrics_of(file).items()} | _without_auto(metrics)


def metrics_of(file: str) -> dict[str, Any]:
    """Returns the metrics of `metric=<file>`, as it ships."""
    return shipped(f"metric/{file}")


def loss_for(num_classes: int) -> str:
    """Returns the loss for a target of a number of classes, 0 for numbers."""
    if num_classes == 0:
        return "huber"
    return "binary_crossentropy" if num_classes == 2 else "sparse_categorical_crossentropy"


def is_used(config: Mapping[str, Any]) -> bool:
    """Returns whether anything in a checked config is `auto`."""
    return bool(_sections(config))


def _sections(config: Mapping[str, Any]) -> list[str]:
    """Returns the sections of a config in which something is `auto`."""
    uses = {
        "loss": is_auto_loss(config["loss"]),
        "metric": AUTO in (config.get("metric") or {}),
        "trainer": config["trainer"]["max_epochs"] == AUTO,
    }
    return [section for section, is_auto in uses.items() if is_auto]


def resolve(config: dict[str, Any], settings: Settings, catalog: Catalog, *, facts: DataFacts) -> dict[str, Any]:
    """Returns the config with what `auto` becomes.

    Args:
        config: composed, in plain containers.
        settings: the same, checked.
        catalog: the components.
        facts: what the data say.
    """
    algorithm = catalog.get("algorithm", settings.algorithm.name, where="algorithm.name")
    learns_targets = not algorithm.declared("own_targets")
    metrics = metrics_of(facts.metrics) if learns_targets else {}
    choices = {
        "loss": _loss(facts.classes if learns_targets else {}, catalog, fallback=algorithm.declared("auto_loss")),
        "metric": metrics | _without_auto(config.get("metric") or {}),
        "trainer": {**config["trainer"], "max_epochs": _max_epochs(settings, facts)},
    }
    return {**config, **{section: choices[section] for section in _sections(config)}}


def as_resolved(config: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config in which `auto` is what it has become in another one, for the same data."""
    sections = _sections(config)
    choices = {section: other[section] for section in sections}
    if "trainer" in sections:
        choices["trainer"] = {**config["trainer"], "max_epochs": other["trainer"]["max_epochs"]}
    return {**config, **choices}


def _loss(classes: Mapping[str, int], catalog: Catalog, *, fallback: str | None) -> dict[str, Any]:
    """Returns the section of the loss: that of the only target, or one for each output; `fallback` without targets."""
    losses = {output: loss_for(count) for output, count in classes.items()}
    names = set(losses.values()) or {fallback or WITHOUT_TARGETS}
    if len(names) > 1:
        return {"name": "per_output", **catalog.get("loss", "per_output", where="loss").defaults(), "losses": losses}
    name = names.pop()
    return {"name": name, **catalog.get("loss", name, where="loss").defaults()}


def _max_epochs(settings: Settings, facts: DataFacts) -> int | None:
    """Returns 20 epochs or as many as have 2,000 steps; None if something else limits the run."""
    if settings.trainer.max_steps is not None or settings.trainer.max_seconds is not None:
        return None
    return max(MIN_EPOCHS, -(-MIN_STEPS // facts.steps_per_epoch))


def _without_auto(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in metrics.items() if key != AUTO}
