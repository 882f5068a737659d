"""What most commands begin with: the composed config, the data, and the folder of a run that exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from tfrun.commands.command_line import CommandLine
from tfrun.config import yaml_files
from tfrun.config.catalog import Catalog
from tfrun.config.compose import Composed, Configs, open_configs
from tfrun.config.cross_checks import check_task
from tfrun.config.defaults import fill_in
from tfrun.config.overrides import parse
from tfrun.config.plain import plain, texts
from tfrun.config.settings import Settings
from tfrun.config.sources import plugin_names
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.sources import load_table
from tfrun.data.table import Table
from tfrun.errors import CheckpointError, ConfigError
from tfrun.files import runs
from tfrun.files.runs import RunFolder


def compose(command_line: CommandLine, run_mode: RunMode = RunMode.RUN) -> tuple[Configs, Composed]:
    """Composes the config of a command line whose words are all overrides."""
    words, sources = command_line.words, command_line.sources
    plugins = plugin_names(words, sources)
    with open_configs(words, sources, plugins=plugins) as configs:
        composed = configs.compose(words, run_mode)
    named = texts(composed.config.get("plugins"))
    if set(named) <= set(plugins):
        return configs, composed
    # A file that the chosen files include names more plugins, whose components must be options too.
    with open_configs(words, sources, plugins=named) as configs:
        return configs, configs.compose(words, run_mode)


def read_data(settings: Settings, catalog: Catalog) -> Table:
    """Reads the data before TensorFlow is imported, so that a mistake in it is reported at once."""
    table = load_table(settings.data, catalog)
    check_task(settings, catalog, task=table.task)
    return table


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
        """Returns the run's config with the overrides applied, and the components, those of the run's plugins too."""
        with open_configs(self.overrides, command_line.sources, plugins=texts(self.config.get("plugins"))) as configs:
            return configs.change(self.config, self.overrides), configs.catalog

    def read_preprocessing(self) -> Preprocessing:
        """Returns what the run learnt from its training rows.

        Raises:
            CheckpointError: the run has no checkpoint yet, so there is nothing to use.
            ConfigError: the file can't be read.
        """
        if not self.folder.has_checkpoints:
            raise CheckpointError(f"{self.folder.checkpoints}: the run has no checkpoint yet")
        return Preprocessing.from_fields(self.folder.read_preprocessing())

    def refuse_all_but_data(self, command: str, takes: str = "other data only") -> None:
        """Raises ConfigError if an override changes anything else than the data; `takes` is what the command takes."""
        for override in parse(self.overrides):
            if override.key_or_group.partition(".")[0] != "data":
                raise ConfigError(
                    f"{override.key_or_group}: {command} takes {takes}. Received: {override.input_line!r}"
                )


def open_run(command_line: CommandLine, command: str) -> ExistingRun:
    """Opens the one run folder that a command line names.

    Raises:
        ConfigError: it names none or several, the folder is no run's, or its config can't be read.
    """
    paths = [word for word in command_line.names if not word.startswith("~")]
    if len(paths) != 1:
        raise ConfigError(f"{command}: needs one run folder, outputs/<name>/<date>_<time>_<id>. Received: {paths}")
    folder = runs.open_run(paths[0])
    try:
        config = fill_in(plain(yaml_files.load_config(folder.config_yaml)))
    except (YAMLError, OmegaConfBaseException, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{folder.config_yaml}: can't be read as a config: {reason}") from error
    return ExistingRun(folder, config, [word for word in command_line.words if word != paths[0]])
