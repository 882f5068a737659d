"""Composes the config with Hydra; every mistake in it is one ConfigError.

Hydra sees tfrun's YAML files and, behind them, one option for each registered component (`catalog_source`), so a YAML
file wins over a component of the same name.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import version
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.errors import MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from tfrun.config import hydra_private, settings
from tfrun.config.catalog import Catalog, load_catalog
from tfrun.config.catalog_source import SCHEME, catalog_options, catalog_source
from tfrun.config.explain import USER_MISTAKES, explain, explain_missing
from tfrun.config.overrides import parse, rewrite
from tfrun.config.plain import plain
from tfrun.config.sources import Sources, plugin_names, search_path, shipped_configs
from tfrun.errors import ConfigError, unknown


@dataclass(frozen=True)
class Composed:
    """A composed config.

    Attributes:
        config: the job's config in plain containers, interpolations resolved; `???` where a value is missing.
        job: the same with its interpolations, as Hydra prints it.
        cfg: all of it, with the `hydra` node.
    """

    config: dict[str, Any]
    job: DictConfig
    cfg: DictConfig


@dataclass(frozen=True)
class Configs:
    """The configs that can be composed: Hydra, opened with the components of a catalog.

    Attributes:
        hydra: Hydra itself, whose search path ends with the catalog.
        catalog: the components.
        sources: where the command line says the configs are.
        repository: Hydra's store of config groups and their options.
        folders: the folders of YAML files, in the order in which they are searched.
        earlier: overrides of every job of a sweep of an earlier version, which the job's own ones replace.
    """

    hydra: hydra_private.Hydra
    catalog: Catalog
    sources: Sources
    repository: hydra_private.IConfigRepository
    folders: list[Path]
    earlier: tuple[str, ...] = ()

    def options(self, group: str) -> list[str]:
        """Returns the names that a config group offers."""
        return [name for name in self.repository.get_group_options(group) if not name.startswith("_")]

    def groups(self) -> list[str]:
        """Returns the names of the config groups, without Hydra's own."""
        return [group for group in self.repository.get_group_options("", ObjectType.GROUP) if group != "hydra"]

    def is_group(self, key: str) -> bool:
        """Returns whether a key is a config group."""
        return self.repository.group_exists(key)

    def load(self, group: str, name: str) -> DictConfig:
        """Returns an option's own config, without its defaults list."""
        loaded = self.repository.load_config(f"{group}/{name}")
        if loaded is None:
            raise unknown(group, "option", name=name, known=self.options(group))
        assert isinstance(loaded.config, DictConfig)
        return loaded.config

    def rewrite(self, overrides: Sequence[str]) -> list[str]:
        """Returns a single run's overrides as Hydra should see them."""
        return rewrite(overrides, self)

    def explain(self, error: Exception) -> ConfigError:
        """Returns a one-line ConfigError for what Hydra, OmegaConf or PyYAML raised."""
        if isinstance(error, MissingConfigException):
            return explain_missing(error, self.options, config_path=self.sources.config_path)
        return explain(error, self.groups())

    def compose(self, overrides: Sequence[str], run_mode: RunMode = RunMode.RUN) -> Composed:
        """Composes the config. Raises ConfigError for any mistake in it."""
        rewritten = rewrite(overrides, self, is_sweep=run_mode == RunMode.MULTIRUN)
        try:
            rewritten += self._implied(rewritten, run_mode)
            cfg = self.hydra.compose_config(self.sources.config_name, rewritten, run_mode)
            if run_mode == RunMode.RUN:
                # A run's record has the overrides as they were typed. Those of a sweep Hydra reads once more for each
                # job, so they stay rewritten.
                task = [override for override in overrides if not override.lstrip("+~").startswith("hydra.")]
                with read_write(cfg.hydra), open_dict(cfg.hydra):
                    cfg.hydra.overrides.task = task
            HydraConfig.instance().set_config(cfg)
            job = copy.deepcopy(cfg)
            with open_dict(job):
                del job["hydra"]
            return Composed(plain(job), job, cfg)
        except USER_MISTAKES as error:
            raise self.explain(error) from error

    def _implied(self, overrides: list[str], run_mode: RunMode) -> list[str]:
        """Returns `early_stopping=default` if one of its keys is set and nothing chooses the group."""
        if not any(override.lstrip("+").startswith("early_stopping.") for override in overrides):
            return []
        loader = self.hydra.config_loader
        choices = loader.compute_defaults_list(self.sources.config_name, overrides, run_mode).overrides.known_choices
        is_deleted = any(override.startswith("~early_stopping") for override in overrides)
        return [] if is_deleted or choices.get("early_stopping") else ["early_stopping=default"]

    def change(self, config: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
        """Returns a run's config with overrides applied, without composing it anew.

        A group's option replaces that part of the config; the keys that all data sets share stay as they are.
        """
        cfg = OmegaConf.create(config)
        try:
            for override in parse(self.rewrite(overrides)):
                key, value = override.key_or_group, override.value()
                if override.is_delete() and self.is_group(key):
                    cfg[key] = None
                elif self.is_group(key) and isinstance(value, str | list):
                    cfg[key] = OmegaConf.merge(_shared_keys(cfg, key), *self._load_options(key, value))
                else:
                    if key.startswith("early_stopping.") and cfg.get("early_stopping") is None:
                        cfg["early_stopping"] = self.load("early_stopping", "default")
                    hydra_private.apply_override(override, cfg)
            return plain(cfg)
        except USER_MISTAKES as error:
            raise self.explain(error) from error

    def _load_options(self, group: str, names: str | list[str]) -> list[DictConfig]:
        if group not in settings.SECTIONS:
            raise ConfigError(f"{group}: can't be chosen for a run that exists. Set the keys themselves")
        return [self.load(group, name) for name in ([names] if isinstance(names, str) else names)]


def _shared_keys(cfg: DictConfig, group: str) -> dict[str, Any]:
    """Returns the part of a section that belongs to no single component: `data.batch_size` for example."""
    if group not in settings.COMPONENT_SECTIONS:
        return {}
    section = cfg.get(group) or {}
    keys = [key.partition(".")[2] for key in settings.config_keys() if key.startswith(f"{group}.")]
    return {key: section[key] for key in keys if key in section}


@contextlib.contextmanager
def open_configs(
    overrides: Sequence[str],
    sources: Sources | None = None,
    *,
    plugins: Sequence[str] | None = None,
    groups: Mapping[str, Any] | None = None,
) -> Iterator[Configs]:
    """Opens Hydra with the components of tfrun and of plugins.

    Args:
        overrides: the command line's; only `plugins` and `hydra.searchpath` matter here.
        sources: where the configs are.
        plugins: the names of the plugins; None reads them from the overrides and the files.
        groups: model -> the optimizer groups that it asked for in an earlier version, if these are wanted.
    """
    sources = sources or Sources()
    sources.check_config_dir()
    catalog = load_catalog(plugin_names(overrides, sources) if plugins is None else plugins)
    version.setbase("1.3")
    GlobalHydra.instance().clear()  # a caller, a notebook for example, may have left one open
    options: dict[str, dict[str, Any]] = {}
    path = search_path(sources, catalog.config_dirs)
    hydra_private.add_config_source(SCHEME, catalog_source(options))
    hydra = hydra_private.open_hydra(path)
    try:
        repository = _open_repository(hydra, sources, overrides=overrides)
        files = [Path(source.path) for source in repository.get_sources() if source.scheme() == "file"]
        folders = list(dict.fromkeys([*files, shipped_configs()]))
        # Filled in only now, since `hydra.searchpath` adds folders, and a model's file in one of them is an option too.
        options.update(catalog_options(catalog, folders, groups))
        yield Configs(hydra, catalog, sources, repository, folders)
    finally:
        GlobalHydra.instance().clear()


def _open_repository(
    hydra: hydra_private.Hydra, sources: Sources, *, overrides: Sequence[str]
) -> hydra_private.IConfigRepository:
    search_paths = [text for text in overrides if "hydra.searchpath" in text]
    try:
        return hydra_private.open_repository(hydra.config_loader, sources.config_name, overrides=search_paths)
    except USER_MISTAKES as error:
        raise explain(error) from error
