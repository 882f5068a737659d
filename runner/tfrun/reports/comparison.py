"""`tfrun compare`: reads run folders and puts the runs in order, best first.

It needs the folders alone: their `config.yaml` and `run.json`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tfrun.config.catalog import Catalog, load_catalog
from tfrun.config.cross_checks import is_comparable
from tfrun.config.defaults import fill_in
from tfrun.config.directions import Mode, as_mode
from tfrun.config.keys import flatten
from tfrun.errors import CheckpointError, ConfigError, unknown
from tfrun.files import yaml_files
from tfrun.files.runs import RunFolder
from tfrun.files.strict_json import defined
from tfrun.streams import complain

NOT_COMPARED = ("output_root", "resume", "tags", "plugins")  # keys that don't change what is trained


@dataclass(frozen=True)
class Row:
    """A run.

    Attributes:
        folder: its folder.
        run: its `run.json`.
        config: its config's leaves by dotted path; a mode that is null is replaced by what the monitored metric says.
    """

    folder: RunFolder
    run: Mapping[str, Any]
    config: Mapping[str, Any]

    def value(self, metric: str, take: str = "best") -> float | None:
        """Returns a metric's value in the best epoch, or in the last; a test metric has one value only.

        None if there is none or it isn't defined, for which runs of earlier versions have NaN.
        """
        return defined(self.run["metrics" if take == "last" or metric.startswith("test/") else "best"].get(metric))


@dataclass(frozen=True)
class Comparison:
    """Runs in order.

    Attributes:
        rows: the runs, best first; those without a value last.
        keys: the config keys that differ between the runs.
        metric: the metric that orders the runs.
        mode: whether its `min` or its `max` is best.
        take: the epoch whose value counts, `best` or `last`.
    """

    rows: Sequence[Row]
    keys: Sequence[str]
    metric: str
    mode: str
    take: str = "best"

    @property
    def done(self) -> list[Row]:
        """The runs that completed and have a value."""
        return [row for row in self.rows if row.run["status"] == "completed" and self.value(row) is not None]

    @property
    def is_comparable(self) -> bool:
        """Whether the metric means the same in all runs."""
        return is_comparable(self.metric, self.keys)

    def value(self, row: Row) -> float | None:
        """Returns the value that orders a run."""
        return row.value(self.metric, self.take)


def compare(
    paths: Sequence[str], metric: str | None = None, *, mode: str | None = None, take: str = "best"
) -> Comparison:
    """Reads runs and puts them in order.

    Args:
        paths: run folders, sweeps, or folders that contain such.
        metric: the metric to order by, `val/mae` for example; None takes what chose the first run's best weights.
        mode: `min` or `max`; None takes the first run's `checkpoint.mode` for the value that it monitored, if it was
            set, and else the better direction of the metric.
        take: the epoch whose value counts, `best` or `last`.

    Raises:
        ConfigError: there are no runs, none has the metric, or nothing says which of its values are better.
    """
    rows = [_with_modes(row) for path in paths for row in _read(path)]
    first = rows[0].config
    metric = metric or str(first["checkpoint.monitor"])
    known = {key for row in rows for key in (*row.run["metrics"], *row.run["best"]) if "/" in key}
    if metric not in known and any(row.run["status"] == "completed" for row in rows):
        raise unknown("metric", "metric of these runs", name=metric, known=known)
    if mode is None:
        mode = _better_direction(metric, rows[0])
    elif mode not in ("min", "max"):
        raise unknown("mode", "mode", name=mode, known=["min", "max"])
    elif _mode_of(metric, rows[0]) not in (mode, None):
        better = "smaller" if mode == "max" else "greater"
        complain(f"warning: mode={mode}, but a {better} {metric} is better")
    if take not in ("best", "last"):
        raise unknown("take", "epoch", name=take, known=["best", "last"])
    sign = 1.0 if mode == "min" else -1.0

    def rank(row: Row) -> tuple[bool, float]:
        value = row.value(metric, take)
        return (True, 0.0) if value is None else (False, sign * value)

    return Comparison(sorted(rows, key=rank), _differing(rows), metric, mode, take)


def _better_direction(metric: str, row: Row) -> str:
    """Returns whether the `min` or the `max` of a metric is best, as far as a run tells."""
    configured = row.config.get("checkpoint.mode") if metric == row.config["checkpoint.monitor"] else None
    mode = configured or _mode_of(metric, row)
    if mode is None:
        raise ConfigError(f"mode: must be given, because nothing says whether a greater {metric} is better: min or max")
    return str(mode)


def _mode_of(metric: str, row: Row) -> Mode | None:
    """Returns which values are better: as `run.json` says, or the catalog for runs of earlier versions.

    None if neither knows it.
    """
    key = metric.partition("/")[2]
    recorded = row.run.get("higher_is_better") or {}
    if key in recorded:
        return as_mode(recorded[key])
    name = row.config.get(f"metric.{key}.name")
    if name is None:  # the loss, or a metric that the model works out itself
        return "min" if key == "loss" else None
    component = _catalog(tuple(map(str, row.config.get("plugins") or ())), Path.cwd()).find("metric", name)
    return as_mode(component.declared("higher_is_better")) if component is not None else None


def _with_modes(row: Row) -> Row:
    """Returns the run with its modes filled in, so that it is like one whose config has them."""
    modes = {
        key: _mode_of(str(row.config[monitor]), row)
        for key, value in row.config.items()
        if value is None and key.endswith(".mode") and (monitor := key.removesuffix("mode") + "monitor") in row.config
    }
    return replace(row, config={**row.config, **modes})


@functools.cache  # a sweep may have many jobs that failed before their run.json said it
def _catalog(plugins: tuple[str, ...], folder: Path) -> Catalog:
    """Returns the components with those of a run's plugins, if they can still be found from the current folder."""
    try:
        return load_catalog(plugins)
    except ConfigError:
        return load_catalog()


def _differing(rows: Sequence[Row]) -> list[str]:
    """Returns the keys whose values differ between the runs, without those that differ because another key does.

    Two models have different parameters: only the model's name is of interest, and the keys that a command line set.
    """
    configs = [row.config for row in rows if row.config]
    all_keys = dict.fromkeys(key for config in configs for key in config)
    overridden = {str(text).lstrip("+").partition("=")[0] for row in rows for text in row.run.get("overrides", [])}
    differing = [
        key
        for key in all_keys
        if not key.startswith(NOT_COMPARED) and len({repr(config.get(key)) for config in configs}) > 1
    ]
    # `model.` where models differ: the other keys below it follow from the name.
    other_components = {key.removesuffix("name") for key in differing if key.endswith(".name")}

    def is_of_interest(key: str) -> bool:
        if key in overridden:
            return True
        is_in_all = all(key in config for config in configs)
        return is_in_all and (key.endswith(".name") or f"{key.rpartition('.')[0]}." not in other_components)

    return [key for key in differing if is_of_interest(key)]


def _read(path: str) -> list[Row]:
    """Returns the runs in a folder, those whose config can't be read last."""
    root = Path(path).expanduser()
    if not root.is_dir():
        raise ConfigError(f"compare: no such folder. Received: {path!r}")
    folders = sorted(file.parent for file in root.rglob("run.json"))
    if not folders:
        raise ConfigError(f"compare: there are no runs in {path}")
    rows = []
    damaged: list[str] = []
    sections: dict[str, Any] = {}
    for folder in map(RunFolder, folders):
        try:
            run = {"status": "failed", "metrics": {}, "best": {}, "timing": {}, "epoch": 0} | folder.read_run()
        except CheckpointError as error:  # one bad folder is no reason not to show the others
            damaged.append(f"left out: {error}")
        else:
            rows.append(Row(folder, run, dict(flatten(_read_config(folder, sections, damaged=damaged)))))
    if not any("checkpoint.monitor" in row.config for row in rows):
        raise ConfigError(damaged[0] if damaged else f"compare: no run in {path} has a config that can be read")
    for text in damaged:
        complain(f"warning: {text}")
    return sorted(rows, key=lambda row: "checkpoint.monitor" not in row.config)


def _read_config(folder: RunFolder, sections: dict[str, Any], *, damaged: list[str]) -> dict[str, Any]:
    """Returns a run's config; empty if there is none, or another program's, or one that `damaged` gets a line about.

    `sections` are those of the configs that were read before it.
    """
    config = None
    try:
        if folder.config_yaml.exists():  # a job of a sweep may have failed before it had one
            config = yaml_files.load_similar(folder.config_yaml, sections)
    except (ConfigError, yaml.YAMLError) as error:
        damaged.append(" ".join(str(error).split()))
    if not isinstance(config, dict) or not isinstance(config.get("checkpoint"), dict):
        return {}
    return fill_in(config)
