"""The private names of Hydra and OmegaConf: each does what tfrun needs of it, and is missed loudly once it is gone."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import omegaconf._utils as omegaconf_utils
import pytest
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.core_plugins.structured_config_source import StructuredConfigSource
from hydra._internal.hydra import Hydra
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from tfrun.config import hydra_private
from tfrun.errors import LibraryChangedError


class OurLauncher(Launcher):
    def setup(self, **_: Any) -> None:
        """Does nothing."""

    def launch(self, job_overrides: Any, initial_job_idx: int) -> list[Any]:
        return []


@pytest.fixture(autouse=True)
def _no_hydra_is_left() -> Iterator[None]:
    Plugins.instance()  # registers the sources that Hydra itself reads configs from
    yield
    GlobalHydra.instance().clear()


def parsed(*texts: str) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(texts))


def opened() -> Hydra:
    GlobalHydra.instance().clear()
    path = hydra_private.empty_search_path()
    path.append("main", "pkg://tfrun.conf")
    return hydra_private.open_hydra(path)


def open_repository() -> Any:
    return hydra_private.open_repository(opened().config_loader, "config", overrides=[])


def change() -> DictConfig:
    cfg = OmegaConf.create({"seed": 1})
    hydra_private.apply_override(parsed("seed=2")[0], cfg)
    return cfg


def replace_loading() -> None:
    hydra_private.replace_sweep_loading(opened().config_loader, lambda config, overrides: config)


def accept() -> None:
    with hydra_private.accept_plugin(OurLauncher):
        pass


def plugin_sweeper() -> Any:
    """Returns Hydra's sweeper as Hydra itself uses it: another class than the one that is imported."""
    return Plugins.instance().class_name_to_class[f"{BasicSweeper.__module__}.{BasicSweeper.__name__}"]


def run_jobs() -> None:
    opened()  # loads the plugins
    with hydra_private.replace_jobs([["seed=1"]]):
        pass


NAMES: list[tuple[str, Any, str, Callable[[], Any]]] = [
    *[("Hydra", Hydra, name, opened) for name in hydra_private.HYDRA_METHODS],
    *[("Hydra", IConfigRepository, name, open_repository) for name in hydra_private.REPOSITORY_METHODS],
    ("Hydra", ConfigLoaderImpl, "_parse_overrides_and_create_caching_repo", open_repository),
    ("Hydra", ConfigLoaderImpl, "_apply_overrides_to_config", change),
    ("Hydra", BasicSweeper, "split_arguments", lambda: hydra_private.split_into_jobs(parsed("seed=1,2"))),
    ("Hydra", plugin_sweeper(), "split_arguments", run_jobs),
    ("Hydra", Plugins, "is_in_toplevel_plugins_module", accept),
    ("OmegaConf", omegaconf_utils.OmegaConfDumper, "str_representer", hydra_private.text_representer),
]
IMPORTED = [
    ("Hydra", "hydra._internal.config_loader_impl", "ConfigLoaderImpl"),
    ("Hydra", "hydra._internal.config_repository", "IConfigRepository"),
    ("Hydra", "hydra._internal.config_search_path_impl", "ConfigSearchPathImpl"),
    ("Hydra", "hydra._internal.core_plugins.basic_sweeper", "BasicSweeper"),
    ("Hydra", "hydra._internal.core_plugins.file_config_source", "FileConfigSource"),
    ("Hydra", "hydra._internal.hydra", "Hydra"),
    ("Hydra", "hydra._internal.sources_registry", "SourcesRegistry"),
    ("Hydra", "hydra._internal.utils", "get_args_parser"),
    ("OmegaConf", "omegaconf._utils", "get_omega_conf_dumper"),
]


@pytest.mark.parametrize(("library", "owner", "name", "use"), NAMES, ids=[name for _, _, name, _ in NAMES])
def test_a_name_that_is_gone_is_missed(
    library: str, owner: Any, name: str, use: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    omegaconf_utils.get_omega_conf_dumper()  # adds its representer once
    use()
    monkeypatch.delattr(owner, name)
    with pytest.raises(LibraryChangedError, match=rf"^{library} changed \w+\.{name}\b"):
        use()


def test_a_loader_without_sweep_configs_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_loading()
    for owner in (base for base in ConfigLoaderImpl.__mro__ if "load_sweep_config" in vars(base)):
        monkeypatch.delattr(owner, "load_sweep_config")
    monkeypatch.setattr(ConfigLoaderImpl, "__abstractmethods__", frozenset())
    with pytest.raises(LibraryChangedError, match="^Hydra changed ConfigLoaderImpl.load_sweep_config"):
        replace_loading()


def test_a_registry_without_types_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = SourcesRegistry.instance()
    hydra_private.add_config_source("ours", StructuredConfigSource)
    assert registry.types.pop("ours") is StructuredConfigSource
    monkeypatch.delattr(registry, "types")
    with pytest.raises(LibraryChangedError, match="^Hydra changed SourcesRegistry.types"):
        hydra_private.add_config_source("ours", StructuredConfigSource)


@pytest.mark.parametrize(("library", "module", "name"), IMPORTED)
def test_an_import_that_is_gone_is_missed(
    library: str, module: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(sys.modules[module], name)
    with pytest.raises(LibraryChangedError, match=rf"^{library} changed {module}: .*'{name}'"):
        runpy.run_path(str(hydra_private.__file__))


def test_it_needs_no_tensorflow() -> None:
    code = "import sys, tfrun.config.hydra_private\nassert not {'tensorflow', 'keras'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_configs_are_found() -> None:
    repository = open_repository()
    assert repository.group_exists("trainer")
    assert "default" in repository.get_group_options("trainer")


def test_an_override_changes_a_config() -> None:
    assert change() == {"seed": 2}


def test_jobs_are_every_combination_of_values() -> None:
    jobs = hydra_private.split_into_jobs(parsed("seed=1,2", "name=x"))
    assert jobs == [["seed=1", "name=x"], ["seed=2", "name=x"]]


def test_hydras_sweeper_runs_jobs_that_it_is_given() -> None:
    jobs = [["seed=1"], ["seed=2"], ["seed=3"]]
    sweeper, own = plugin_sweeper(), plugin_sweeper().split_arguments
    with hydra_private.replace_jobs(jobs):
        assert sweeper.split_arguments(parsed("seed=7"), None) == [jobs]
        assert sweeper.split_arguments(parsed("seed=7"), 2) == [jobs[:2], jobs[2:]]
    assert sweeper.split_arguments is own


def test_a_loader_composes_a_sweep_s_jobs_with_another_function() -> None:
    loader = opened().config_loader
    hydra_private.replace_sweep_loading(loader, lambda config, overrides: OmegaConf.create({"words": overrides}))
    assert loader.load_sweep_config(OmegaConf.create({"seed": 1}), ["seed=2"]) == {"words": ["seed=2"]}


def test_a_plugin_of_ours_is_accepted_for_a_while() -> None:
    ours, plugins = f"{OurLauncher.__module__}.{OurLauncher.__name__}", Plugins.instance()
    with hydra_private.accept_plugin(OurLauncher):
        assert plugins.is_in_toplevel_plugins_module(ours)
        assert not plugins.is_in_toplevel_plugins_module("another.Launcher")
    assert not plugins.is_in_toplevel_plugins_module(ours)


def test_a_text_that_looks_like_a_number_is_quoted() -> None:
    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_representer(str, hydra_private.text_representer())
    assert yaml.dump(["1e-3", "abc"], Dumper=Dumper) == "- '1e-3'\n- abc\n"


def test_the_parser_knows_hydra_s_flags() -> None:
    assert hydra_private.args_parser().parse_args(["--multirun", "a=1"]).multirun
