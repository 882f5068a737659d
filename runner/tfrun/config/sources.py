"""Where the YAML files of a config are looked for: the command line's folders, tfrun's own, and those of plugins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.types import Sweep
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from tfrun.config import catalog_source, hydra_private
from tfrun.config.overrides import parse
from tfrun.config.plain import read_yaml, texts
from tfrun.config.plugins import shipped_folders
from tfrun.config.settings import GLOBAL_GROUPS
from tfrun.errors import ConfigError, near_miss
from tfrun.folders import typed


@dataclass(frozen=True)
class Sources:
    """Where a command line says the configs are: Hydra's --config-name, --config-dir and --config-path."""

    config_name: str = "config"
    config_dir: str | None = None
    config_path: str | None = None

    def folders(self) -> list[Path]:
        """Returns these folders and then tfrun's own, in the order in which they are searched."""
        named = [Path(folder).absolute() for folder in (self.config_dir, self.config_path) if folder]
        return [*named, shipped_configs()]

    def absolute(self) -> Sources:
        """Returns the same places for a process in another folder."""
        config_dir, config_path = (
            str(typed(folder)) if folder and "://" not in folder else folder
            for folder in (self.config_dir, self.config_path)
        )
        return replace(self, config_dir=config_dir, config_path=config_path)

    def check_config_dir(self) -> None:
        """Raises ConfigError if --config-dir is not a folder; Hydra would only leave it out."""
        if self.config_dir and not Path(self.config_dir).is_dir():
            folder = Path(self.config_dir).absolute()
            parent = folder.parent
            siblings = [item.name for item in parent.iterdir() if item.is_dir()] if parent.is_dir() else []
            hint = near_miss(folder.name, siblings)
            raise ConfigError(f"--config-dir: no such folder. Received: {self.config_dir!r}.{hint}")


def shipped_configs() -> Path:
    """Returns the folder of the YAML files that tfrun ships."""
    return shipped_folders("conf")[0]


def search_path(sources: Sources, plugin_folders: Sequence[Path]) -> ConfigSearchPath:
    """Returns where Hydra looks, in order: --config-dir, the primary configs, tfrun's, plugins', the catalog."""
    plugins = Plugins.instance()  # the first call registers Hydra's own config sources
    path = hydra_private.empty_search_path()
    path.append("hydra", "pkg://hydra.conf")
    if sources.config_dir:
        path.append("command-line", f"file://{Path(sources.config_dir).absolute()}")
    if sources.config_path:
        where = sources.config_path
        path.append("main", where if "://" in where else f"file://{Path(where).absolute()}")
    path.append("tfrun" if sources.config_path else "main", "pkg://tfrun.conf")
    for folder in plugin_folders:
        path.append("plugin", f"file://{folder}")
    for plugin in plugins.discover(SearchPathPlugin):
        plugin().manipulate_search_path(path)  # type: ignore[attr-defined]
    path.append("catalog", f"{catalog_source.SCHEME}://")
    path.append("schema", "structured://")
    return path


def plugin_names(overrides: Sequence[str], sources: Sources) -> list[str]:
    """Returns the value that `plugins` will have.

    It must be known before Hydra composes the config, since the plugins' components are options of the config groups.
    """
    chosen: dict[str, Any] = {}
    for override in parse(overrides):
        value = override.value()
        chosen[override.key_or_group] = value.list if isinstance(value, Sweep) and hasattr(value, "list") else value
    if "plugins" in chosen:
        return texts(chosen["plugins"])
    recipes = [f"{group}/{name}" for group in GLOBAL_GROUPS for name in texts(chosen.get(group))]
    names: list[str] = []
    for path in [sources.config_name, *recipes]:  # the later ones win
        file = next((file for folder in sources.folders() if (file := folder / f"{path}.yaml").is_file()), None)
        if file is not None:
            names = texts(read_yaml(file).get("plugins")) or names
    return names
