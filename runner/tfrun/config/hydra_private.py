"""Every private name of Hydra and OmegaConf that tfrun relies on.

Each function says why a public name will not do, and raises LibraryChangedError ("Hydra changed …") where the library
no longer has what it needs. Nothing of a library is replaced when this module is imported.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.plugin import Plugin
from omegaconf import DictConfig

from tfrun.errors import private_imports, private_name
from tfrun.files import yaml_files

with private_imports("Hydra"):
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.config_repository import IConfigRepository
    from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra._internal.core_plugins.file_config_source import FileConfigSource as HydraFiles
    from hydra._internal.hydra import Hydra
    from hydra._internal.sources_registry import SourcesRegistry
    from hydra._internal.utils import get_args_parser
with private_imports("OmegaConf"):
    from omegaconf._utils import get_omega_conf_dumper

__all__ = [  # three classes that other modules name: Hydra itself, its store of configs, its own sweeper
    "BasicSweeper",
    "Hydra",
    "IConfigRepository",
    "accept_plugin",
    "add_config_source",
    "apply_override",
    "args_parser",
    "empty_search_path",
    "installed_plugins",
    "open_hydra",
    "open_repository",
    "replace_jobs",
    "replace_sweep_loading",
    "split_into_jobs",
    "text_representer",
]
HYDRA_METHODS = (
    "compose_config",
    "create_main_hydra2",
    "get_sanitized_cfg",
    "hydra_help",
    "multirun",
    "show_info",
)
REPOSITORY_METHODS = ("get_group_options", "get_sources", "group_exists", "load_config")


class FileConfigSource(HydraFiles):
    """Reads YAML files as `yaml_files` does, instead of as they are. It has the name of Hydra's class.

    The public `ConfigSource` would leave it to us how Hydra finds files in folders. In the processes of its launchers
    Hydra registers its own class once more, which is an error unless the one that is there has the same name.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        file = Path(self.path) / self._normalize_file_name(config_path)
        if not file.exists():
            return super().load_config(config_path)  # raises Hydra's own error
        header = self._get_header_dict(yaml_files.read_text(file)[:512])
        return ConfigResult(self.provider, f"{self.scheme()}://{self.path}", yaml_files.load_config(file), header)


def open_hydra(search_path: ConfigSearchPath) -> Hydra:
    """Returns Hydra, ready to compose configs from a search path.

    The public `hydra.initialize` takes one folder, and `hydra.main` a function and the whole command line.
    """
    for name in HYDRA_METHODS:
        private_name(Hydra, name, library="Hydra", use="compose configs and to run sweeps")
    add_config_source("file", FileConfigSource)
    Plugins.instance()  # the first call stores Hydra's own options, among them the one that the next line replaces
    # Hydra's option of this name takes texts only: null is an error there, and a list becomes a text.
    grid: dict[str, Any] = {
        "_target_": f"{BasicSweeper.__module__}.{BasicSweeper.__name__}",
        "max_batch_size": None,
        "params": {},
    }
    ConfigStore.instance().store(group="hydra/sweeper", name="basic", node=grid, provider="tfrun")
    return Hydra.create_main_hydra2("tfrun", search_path)


def empty_search_path() -> ConfigSearchPath:
    """Returns a search path without any folder. The public class is abstract."""
    return ConfigSearchPathImpl()


def add_config_source(scheme: str, source: type[ConfigSource]) -> None:
    """Makes Hydra read what stands in a search path as `scheme://` with a class of ours.

    The public `Plugins.register` would list it among the plugins that a person has installed.
    """
    private_name(SourcesRegistry.instance(), "types", library="Hydra", use="offer components as options")[scheme] = (
        source
    )


def open_repository(loader: ConfigLoader, config_name: str, *, overrides: list[str]) -> IConfigRepository:
    """Returns the configs that a loader finds, with the folders that `hydra.searchpath` adds.

    The public loader answers for whole configs only, and adds those folders while it composes one.
    """
    use = "look up config groups and their options"
    for name in REPOSITORY_METHODS:
        private_name(IConfigRepository, name, library="Hydra", use=use)
    read_search_path = private_name(loader, "_parse_overrides_and_create_caching_repo", library="Hydra", use=use)
    _, repository = read_search_path(config_name, overrides)
    return repository


def apply_override(override: Override, cfg: DictConfig) -> None:
    """Changes a config as an override says, with Hydra's own rules for `+`, `++` and `~`.

    Hydra has no public way to apply overrides to a config that is there already.
    """
    apply = private_name(ConfigLoaderImpl, "_apply_overrides_to_config", library="Hydra", use="change a run's config")
    apply([override], cfg)


def args_parser() -> argparse.ArgumentParser:
    """Returns the parser of Hydra's own flags, whose text `--hydra-help` prints. Hydra shows it nowhere else."""
    return get_args_parser()


def split_into_jobs(overrides: list[Override]) -> list[list[str]]:
    """Returns the overrides of each job of a sweep, as Hydra's own sweeper makes them, without running any."""
    split = private_name(
        BasicSweeper, "split_arguments", library="Hydra", use="know a sweep's jobs before any of them runs"
    )
    # Hydra writes `${model.name}` with backslashes, which it reads as the same, but people don't.
    typed = {
        f"{item.get_key_element()}={item.get_value_element_as_str()}": str(item.input_line)
        for item in overrides
        if "${" in str(item.input_line) and not item.is_sweep_override()
    }
    return [[typed.get(word, word) for word in job] for job in split(overrides, None)[0]]


@contextlib.contextmanager
def replace_jobs(jobs: Sequence[Sequence[str]]) -> Iterator[None]:
    """Makes Hydra's own sweeper run these jobs, each given by its overrides, instead of those that it would make.

    It has no public way to take jobs: it makes them from `hydra.sweeper.params` and the command line alone.
    """
    use = "run a sweep's jobs with its launchers"
    # Hydra loads its plugins once more, so this is not the class that is imported above.
    classes = private_name(Plugins.instance(), "class_name_to_class", library="Hydra", use=use)
    sweeper: Any = classes[f"{BasicSweeper.__module__}.{BasicSweeper.__name__}"]
    split = private_name(sweeper, "split_arguments", library="Hydra", use=use)

    def split_jobs(_: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        size = max_batch_size or len(jobs)
        return [[list(job) for job in jobs[start : start + size]] for start in range(0, len(jobs), size)]

    sweeper.split_arguments = staticmethod(split_jobs)
    try:
        yield
    finally:
        sweeper.split_arguments = staticmethod(split)


def replace_sweep_loading(loader: ConfigLoader, load: Callable[[DictConfig, list[str]], DictConfig]) -> None:
    """Makes a sweep compose its jobs with another function: Hydra's sweepers and launchers all ask the loader."""
    private_name(loader, "load_sweep_config", library="Hydra", use="compose the jobs of another sweeper or launcher")
    loader.load_sweep_config = load  # type: ignore[assignment, method-assign]


@contextlib.contextmanager
def accept_plugin(plugin: type[Plugin]) -> Iterator[None]:
    """Makes Hydra take a plugin class of ours, though it takes those of a package named `hydra_plugins` alone."""
    plugins, ours = Plugins.instance(), f"{plugin.__module__}.{plugin.__name__}"
    is_known = private_name(
        plugins, "is_in_toplevel_plugins_module", library="Hydra", use="offer tfrun's own launchers"
    )
    plugins.register(plugin)
    plugins.is_in_toplevel_plugins_module = lambda clazz: clazz == ours or is_known(clazz)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del plugins.is_in_toplevel_plugins_module  # the object's own; the class still has Hydra's


def installed_plugins() -> list[str]:
    """Returns the classes that Hydra takes as launchers and sweepers, as `_target_` names them.

    The public `Plugins.discover` gives classes whose modules Hydra has loaded under another name.
    """
    use = "know whether a launcher or a sweeper is installed"
    return list(private_name(Plugins.instance(), "class_name_to_class", library="Hydra", use=use))


def text_representer() -> Callable[[Any, str], Any]:
    """Returns the function that writes a text into YAML so that OmegaConf reads it as a text: `"1e-3"` with quotes.

    OmegaConf's public `to_yaml` uses it too, but is ten times as slow.
    """
    return private_name(
        get_omega_conf_dumper(), "str_representer", library="OmegaConf", use="write texts that look like numbers"
    )
