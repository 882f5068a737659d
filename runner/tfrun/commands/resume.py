"""`tfrun resume RUN [overrides]`: continues a run in its folder, from its newest checkpoint that is whole."""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable
from typing import Any

from omegaconf import OmegaConf

from tfrun.commands import resume_sweep
from tfrun.commands.command_line import CommandLine
from tfrun.commands.inputs import open_run, read_data
from tfrun.config import schema
from tfrun.config.catalog import Catalog
from tfrun.config.defaults import fill_in
from tfrun.config.keys import flatten
from tfrun.config.settings import Settings
from tfrun.errors import CheckpointError, ConfigError, DataError, TfrunError
from tfrun.files import runs
from tfrun.files.disk import write_atomically
from tfrun.files.runs import RunFolder

# What may change when a run is resumed: how long it trains, and what it writes. A section stands for all its keys.
CHANGEABLE = (
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.max_seconds",
    "logger",
    "checkpoint.every_epochs",
    "checkpoint.every_steps",
    "checkpoint.every_seconds",
    "checkpoint.keep",
    "early_stopping",
    "tags",
    "data.keep_samples",
)


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    sweeps = [folder for word in command_line.names if (folder := runs.open_sweep(word))]
    if sweeps:
        return resume_sweep.run(command_line, sweeps[0])
    existing = open_run(command_line, "resume")
    folder, overrides = existing.folder, existing.overrides
    config, catalog = existing.change(command_line)
    settings = schema.build_settings(config, catalog, overrides=overrides)
    if _check_changes(folder, existing.config, new=config, is_default=_defaults(config, catalog, settings=settings)):
        with folder.held():
            _write_config(folder, config)
    from tfrun.load_engine import engine

    try:
        table = read_data(settings, catalog)
        with engine(folder.log) as (experiment, seconds):
            options = experiment.RunOptions(resume=True, overrides=overrides, import_seconds=seconds)
            return experiment.train(settings, folder, catalog=catalog, table=table, options=options)
    except (ConfigError, DataError, CheckpointError):  # nothing was trained with the new config
        _write_config(folder, existing.config)
        raise


def _check_changes(
    folder: RunFolder, old: dict[str, Any], *, new: dict[str, Any], is_default: Callable[[str], bool]
) -> bool:
    """Returns whether the config changes.

    Raises:
        CheckpointError: a key changes that the run's state depends on.
    """
    before, after = dict(flatten(old)), dict(flatten(new))
    changes = {
        path: (before.get(path, "unset"), after.get(path, "unset"))
        for path in {**before, **after}
        if (path in before, before.get(path)) != (path in after, after.get(path))
    }
    refused = [path for path in changes if not (_may_change(path) or path not in before and is_default(path))]
    if refused:
        lines = "; ".join(f"{path}: {changes[path][0]!r} -> {changes[path][1]!r}" for path in refused)
        raise CheckpointError(
            f"{folder.path}: its state would not fit the changed config. {lines}. "
            f"Only these may change: {', '.join(CHANGEABLE)}. Anything else is a new run"
        )
    return bool(changes)


def _defaults(config: dict[str, Any], catalog: Catalog, *, settings: Settings) -> Callable[[str], bool]:
    """Returns a function that says whether the value of a key in a config is the one it has if it isn't set."""

    def is_default(path: str) -> bool:
        without = copy.deepcopy(config)
        *sections, key = path.split(".")
        try:
            del functools.reduce(operator.getitem, sections, without)[key]
            return schema.build_settings(fill_in(without), catalog) == settings
        except (KeyError, TypeError, TfrunError):  # a name with a dot in it, or a key that must be given
            return False

    return is_default


def _may_change(path: str) -> bool:
    return path in CHANGEABLE or path.startswith(tuple(f"{key}." for key in CHANGEABLE))


def _write_config(folder: RunFolder, config: dict[str, Any]) -> None:
    write_atomically(folder.config_yaml, OmegaConf.to_yaml(OmegaConf.create(config)))
