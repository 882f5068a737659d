"""`tfrun resume RUN [overrides]`: continues a run in its folder, from its newest checkpoint that is whole."""

from __future__ import annotations

import contextlib
import copy
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import OmegaConf

from tfrun.commands import resume_sweep, several_workers
from tfrun.commands.command_line import CommandLine
from tfrun.commands.inputs import ExistingRun, Inputs, name_run, open_run, read_config, read_inputs
from tfrun.config import schema
from tfrun.config.catalog import Catalog
from tfrun.config.changes import CHANGEABLE, UNSET, describe, differences, may_change
from tfrun.config.defaults import fill_in
from tfrun.config.lengths import nothing_left
from tfrun.config.recorded_sources import subject_of
from tfrun.config.run_words import run_words
from tfrun.config.settings import Settings
from tfrun.console import Terminal, say
from tfrun.errors import CheckpointError, TfrunError
from tfrun.files import retention, runs
from tfrun.files.disk import write_atomically
from tfrun.files.provenance.recording import Recording
from tfrun.files.runs import RunFolder
from tfrun.folders import shown


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    sweeps = [folder for word in command_line.names if (folder := runs.open_sweep(word))]
    if sweeps:
        return resume_sweep.run(command_line, sweeps[0])
    folder, _ = name_run(command_line, "resume")
    config = read_config(folder)  # before anything is written: it may be no run folder
    if several_workers.follows(config):
        return _follow(command_line, config)
    with contextlib.ExitStack() as held:
        with several_workers.telling_others(config):
            held.enter_context(folder.held())
            resumed = _check(open_run(command_line, "resume"), command_line)
        if resumed is None:
            return 0
        worker_words = several_workers.words_of("resume", command_line)
        return train_on(folder, resumed.pop("inputs"), worker_words=worker_words, **resumed)


def _follow(command_line: CommandLine, config: dict[str, Any]) -> int:
    """Follows the worker 0 that resumes a run, and returns the exit code. Of the run's files it reads the config."""
    with several_workers.telling_others(config):
        existing = open_run(command_line, "resume")
        config, catalog = existing.change(command_line)
        inputs = read_inputs(config, catalog, overrides=existing.overrides)
        if nothing_left(inputs.settings.trainer, existing.folder.read_run()):
            return 0
        cluster = several_workers.cluster_of(inputs.settings)
    assert cluster is not None
    return several_workers.follow(cluster, inputs, catalog)


def _check(existing: ExistingRun, command_line: CommandLine) -> dict[str, Any] | None:
    """Returns how to resume a run whose folder is held, as `train_on` takes it, or None if nothing is left to train.

    Nothing is written before training begins.
    """
    folder, overrides = existing.folder, existing.overrides
    config, catalog = existing.change(command_line)
    settings = schema.build_settings(config, catalog, overrides=overrides)
    has_changes = check_changes(folder, existing.config, new=config, settings=settings, catalog=catalog)
    before = folder.read_run()
    folder.refuse_lost_checkpoints(before)
    retention.refuse_pruned(folder)
    if reason := nothing_left(settings.trainer, before):
        say(Terminal(), f"{shown(folder.path)} {reason}")
        return None
    inputs = read_inputs(config, catalog, overrides=overrides)  # a run that couldn't read them still has an `auto`
    has_changes |= inputs.config is not existing.config and inputs.config != existing.config
    return {"inputs": inputs, "catalog": catalog, "overrides": overrides, "has_changes": has_changes}


def train_on(
    folder: RunFolder,
    inputs: Inputs,
    *,
    catalog: Catalog,
    overrides: Sequence[str],
    worker_words: Sequence[str],
    has_changes: bool,
) -> int:
    """Trains a run from its newest checkpoint on, or from its first step if it has none, and returns the exit code.

    Args:
        folder: held by this process.
        inputs: the config and the data.
        catalog: the components.
        overrides: of this command line, for `run.json`.
        worker_words: with which further workers on this machine are started, if the run has such.
        has_changes: whether `config.yaml` is to be replaced, once everything is ready to train.
    """
    from tfrun.load_engine import engine

    settings = inputs.settings
    before = folder.read_run()
    recording = Recording.start(folder, subject_of(settings.provenance, catalog), resumed=True, waits=True)

    def begin() -> None:
        if has_changes:
            _write_config(folder, inputs.config)
        recording.may_write()

    cluster = several_workers.cluster_of(settings)
    others = several_workers.leading(cluster, inputs, folder, catalog=catalog, command_line=worker_words)
    with others as leader, recording, engine(folder.log) as (experiment, seconds):
        options = experiment.RunOptions(
            resume=True,
            is_held=True,
            overrides=overrides,
            words=run_words(before.get("overrides", []), model=settings.model.name, folder=folder.path),
            import_seconds=seconds,
            on_begin=begin,
            leader=leader,
        )
        return experiment.train(settings, folder, catalog=catalog, table=inputs.table, options=options)


def check_changes(
    folder: RunFolder,
    old: dict[str, Any],
    *,
    new: dict[str, Any],
    settings: Settings,
    catalog: Catalog,
    advice: str = "Anything else is a new run",
) -> bool:
    """Returns whether the config changes.

    Args:
        folder: the run's.
        old: its `config.yaml`.
        new: the config with which it is resumed.
        settings: the new config, checked.
        catalog: the components.
        advice: the last sentence of the error.

    Raises:
        CheckpointError: a key changes that the run's state depends on.
    """
    changes = differences(old, new)
    is_default = _defaults(new, catalog, settings=settings)
    refused = {
        path: values
        for path, values in changes.items()
        if not (may_change(path) or values[0] == UNSET and is_default(path))
    }
    if refused:
        raise CheckpointError(
            f"{folder.path}: its state would not fit the changed config. {describe(refused)}. "
            f"Only these may change: {', '.join(CHANGEABLE)}. {advice}"
        )
    return bool(changes)


def _defaults(config: dict[str, Any], catalog: Catalog, *, settings: Settings) -> Callable[[str], bool]:
    """Returns a function that says whether a key has its default in a config."""

    def is_default(path: str) -> bool:
        without = copy.deepcopy(config)
        *sections, key = path.split(".")
        try:
            del functools.reduce(operator.getitem, sections, without)[key]
            return schema.build_settings(fill_in(without), catalog) == settings
        except (KeyError, TypeError, TfrunError):  # a name with a dot in it, or a key that must be given
            return False

    return is_default


def _write_config(folder: RunFolder, config: dict[str, Any]) -> None:
    write_atomically(folder.config_yaml, OmegaConf.to_yaml(OmegaConf.create(config)))
