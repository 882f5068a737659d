"""What most commands begin with: the composed config, the data, and the folder of a run that exists."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from tfrun.commands.command_line import CommandLine
from tfrun.config import untouched
from tfrun.config.catalog import Catalog
from tfrun.config.compose import Composed, Configs, open_configs
from tfrun.config.cross_checks import check_task
from tfrun.config.data_paths import fixed_part
from tfrun.config.defaults import fill_in
from tfrun.config.overrides import parse
from tfrun.config.plain import plain, read_yaml, texts
from tfrun.config.schema import build_settings
from tfrun.config.settings import Settings
from tfrun.config.sources import plugin_names
from tfrun.config.split_checks import FOLD_KEYS, require_one_fold
from tfrun.data.facts import resolve_config
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.sources import load_table
from tfrun.data.table import Table
from tfrun.errors import CheckpointError, ConfigError
from tfrun.files import runs, yaml_files
from tfrun.files.runs import RunFolder
from tfrun.folders import typed, work_in

PATH_KEYS = re.compile(r"(^|_)(path|file|folder|directory|dir)s?$")  # parameters of data sets that are paths

SPLIT_KEYS = ("data.split", "data.validation_path", "data.test_path", *FOLD_KEYS)


def compose(
    command_line: CommandLine, run_mode: RunMode = RunMode.RUN, *, groups: Mapping[str, Any] | None = None
) -> tuple[Configs, Composed]:
    """Composes the config of a command line whose words are all overrides; `groups` as for `open_configs`."""
    words, sources = command_line.words, command_line.sources
    plugins = plugin_names(words, sources)
    with open_configs(words, sources, plugins=plugins, groups=groups) as configs:
        composed = configs.compose(words, run_mode)
    named = texts(composed.config.get("plugins"))
    if set(named) <= set(plugins):
        return configs, composed
    # A file that the chosen files include names more plugins, whose components must be options too.
    with open_configs(words, sources, plugins=named, groups=groups) as configs:
        return configs, configs.compose(words, run_mode)


@dataclass(frozen=True)
class Inputs:
    """A run's config and its data.

    Attributes:
        config: in plain containers; what was `auto` has become what fits the data.
        settings: the same, checked.
        table: the raw rows.
    """

    config: dict[str, Any]
    settings: Settings
    table: Table


def read_inputs(config: dict[str, Any], catalog: Catalog, *, overrides: Sequence[str], begins: bool = False) -> Inputs:
    """Checks a config and reads its data, before TensorFlow is imported, so that a mistake is reported at once.

    Args:
        config: in plain containers.
        catalog: the components.
        overrides: the command line's, for the mistakes that only it shows.
        begins: whether a run begins, so that the source of its first weights has to be there.
    """
    settings = build_settings(config, catalog, overrides=overrides, begins=begins)
    require_one_fold(settings.data)
    table = load_table(settings.data, catalog)
    resolved = resolve_config(config, settings, catalog, table=table)
    if resolved is not config:
        settings = build_settings(resolved, catalog, overrides=overrides)
    check_task(settings, catalog, task=table.task)
    return Inputs(resolved, settings, table)


@dataclass(frozen=True)
class ExistingRun:
    """A run that a command line names.

    Attributes:
        folder: the run's folder.
        config: its `config.yaml` in plain containers; keys that came after the run was made have their defaults.
        overrides: the other words of the command line.
    """

    folder: RunFolder
    config: dict[str, Any]
    overrides: list[str]

    def change(self, command_line: CommandLine) -> tuple[dict[str, Any], Catalog]:
        """Returns the run's config with the overrides applied, and the components, those of the run's plugins too.

        Raises:
            CheckpointError: a file of the run is not what its newest checkpoint was saved with.
        """
        plugins = texts(self.config.get("plugins"))
        with open_configs(self.overrides, command_line.sources.absolute(), plugins=plugins) as configs:
            untouched.check_files(self.folder, self.config, catalog=configs.catalog)
            return self._with_typed_paths(configs.change(self.config, self.overrides)), configs.catalog

    def _with_typed_paths(self, config: dict[str, Any]) -> dict[str, Any]:
        """Returns a config in which the relative paths that the overrides set are absolute.

        Those of the run mean the folder of its first command, which is the current one now.
        """
        keys = {override.key_or_group for override in parse(self.overrides)}
        before = relative_paths(self.config.get("data"))
        new = {}
        for key, paths in relative_paths(config.get("data")).items():
            is_moved = any(typed(path) != Path(path).absolute() for path in paths)
            if is_moved and (f"data.{key}" in keys or before.get(key) != paths):
                value = config["data"][key]
                new[key] = str(typed(value)) if isinstance(value, str) else [str(typed(path)) for path in value]
        return {**config, "data": {**config["data"], **new}} if new else config

    def read_preprocessing(self) -> Preprocessing:
        """Returns what the run learnt from its training rows.

        Raises:
            CheckpointError: the run has no checkpoint, so there is nothing to use, or the file is damaged.
        """
        self.folder.require_checkpoints()
        return Preprocessing.from_fields(self.folder.read_preprocessing(), source=str(self.folder.preprocessing_json))

    def refuse_all_but_data(self, command: str, takes: str = "other data only") -> None:
        """Raises ConfigError if an override changes anything else than the data; `takes` is what the command takes."""
        for override in parse(self.overrides):
            if override.key_or_group.partition(".")[0] != "data":
                raise ConfigError(
                    f"{override.key_or_group}: {command} takes {takes}. Received: {override.input_line!r}"
                )

    def refuse_splits(self, command: str) -> None:
        """Raises ConfigError if an override changes how the run's own rows are split."""
        for override in parse(self.overrides):
            key = override.key_or_group
            if key in SPLIT_KEYS or key.startswith("data.split."):
                raise ConfigError(
                    f"{key}: {command} takes the rows as the run has split them, or all rows of another file: "
                    f"data.path=FILE. Received: {override.input_line!r}"
                )


def open_run(command_line: CommandLine, command: str) -> ExistingRun:
    """Opens the one run folder that a command line names, and works in the folder of the run's first command.

    Raises:
        ConfigError: the command line names none or several, or the folder is no run's.
        CheckpointError: the run's config or `run.json` is damaged.
    """
    folder, overrides = name_run(command_line, command)
    existing = ExistingRun(folder, read_config(folder), overrides)
    work_in(folder.first_folder(needed_files(existing.config)))
    return existing


def name_run(command_line: CommandLine, command: str) -> tuple[RunFolder, list[str]]:
    """Returns the one run folder that a command line names, and its other words. Raises ConfigError."""
    paths = [word for word in command_line.names if not word.startswith("~")]
    if len(paths) != 1:
        raise ConfigError(
            f"{command}: needs one run folder, outputs/<name>/<date>_<time>_<id>, or latest. Received: {paths}"
        )
    return runs.open_run(paths[0]), [word for word in command_line.words if word != paths[0]]


def read_config(folder: RunFolder) -> dict[str, Any]:
    """Returns a run's `config.yaml` in plain containers, with the defaults of keys that came later.

    Raises:
        ConfigError: it is another program's.
        CheckpointError: it can't be read as a config.
    """
    try:
        config = plain(yaml_files.load_config(folder.config_yaml))
    except (ConfigError, YAMLError, OmegaConfBaseException, ValueError, OSError) as error:
        reason = " ".join(str(error).split()).removeprefix(f"{folder.config_yaml}: ")
        raise CheckpointError(f"{folder.config_yaml}: can't be read as a config: {reason}") from error
    missing = [key for key in ("data", "model", "loss") if not isinstance(config.get(key), dict)]
    if missing:
        raise ConfigError(
            f"{folder.path}: not a run folder, its config.yaml isn't one of tfrun. It lacks: {', '.join(missing)}"
        )
    return fill_in(config)


def needed_files(config: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Returns the relative paths of the files that a config names: those of its data, and the plugins' modules.

    A module may be a file or a folder, so each entry has all paths of which one must be there.
    """
    modules = {name.partition(".")[0] for name in texts(config.get("plugins"))}
    of_plugins = [(f"{name}.py", name) for name in sorted(modules) if PathFinder.find_spec(name) is None]
    paths = [path for paths in relative_paths(config.get("data")).values() for path in paths]
    return [*((fixed_part(path),) for path in paths), *of_plugins]


def without_splits(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config whose rows are all used, so that no column and no further file is needed to split them."""
    whole = {
        "split": {"by": "auto", "column": None},
        "validation_path": None,
        "test_path": None,
        "folds": None,
        "fold": None,
        "folds_repeats": 1,
    }
    return {**config, "data": {**config["data"], **whole}}


def first_folder_of_sweep(folder: RunFolder, header: Mapping[str, Any]) -> Path:
    """Returns the folder of the command that began a sweep, whose ledger has this header."""
    needed = needed_files(read_yaml(folder.path / "multirun.yaml"))
    return folder.first_folder(needed, described=header.get("folder", {}))


def paths_in(data: Any) -> dict[str, list[str]]:
    """Returns the paths in a config's `data`, by key: `path`, and what a data set of a plugin calls so."""
    items = data.items() if isinstance(data, dict) else ()
    return {key: texts(value) for key, value in items if PATH_KEYS.search(str(key)) and texts(value)}


def relative_paths(data: Any) -> dict[str, list[str]]:
    """Returns the paths in a config's `data` that are relative, by key."""
    relative = {
        key: [path for path in paths if not Path(path).expanduser().is_absolute() and "${" not in path]
        for key, paths in paths_in(data).items()
    }
    return {key: paths for key, paths in relative.items() if paths}
