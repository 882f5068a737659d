"""Composes the config with Hydra, and tells every mistake in it as one ConfigError.

Hydra sees tfrun's YAML files and, behind them, one option for each registered component (`_CatalogSource`), so a YAML
file of the same name wins. A plain `key=value` is handed to Hydra as `++key=value`: whether a key exists is for
`tfrun.config.schema` to say, which knows every key and the near miss, forced or not.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml
from hydra import version
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.default_element import InputDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Sweep
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from tfrun.config import hydra_private, settings
from tfrun.config.catalog import Catalog, Component, load_catalog
from tfrun.errors import ConfigError, near_miss, unknown

KIND_OF_GROUP = {**settings.COMPONENT_SECTIONS, "metric": "metric", "optimizer": "optimizer"}
GLOBAL_GROUPS = settings.GLOBAL_GROUPS
OUR_FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.job.chdir", "hydra.output_subdir")
ONE_GROUP = {"all": {"match": ".*", "name": "adam", "learning_rate": 0.001}}  # for a model that asks for no groups
USER_MISTAKES = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, OSError)


@dataclass(frozen=True)
class Sources:
    """Where the configs are: Hydra's --config-name, --config-dir and --config-path."""

    config_name: str = "config"
    config_dir: str | None = None
    config_path: str | None = None

    def folders(self) -> list[Path]:
        """Returns these folders and tfrun's own, the first to look in first."""
        return [Path(folder).absolute() for folder in (self.config_dir, self.config_path) if folder] + [
            shipped_configs()
        ]


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
class Session:
    """Hydra, ready to compose with the components of a catalog."""

    hydra: hydra_private.Hydra
    catalog: Catalog
    sources: Sources
    repository: hydra_private.IConfigRepository
    folders: list[Path]  # of YAML files, the first to look in first

    def options(self, group: str) -> list[str]:
        """Returns the names that a config group offers."""
        return [name for name in self.repository.get_group_options(group) if not name.startswith("_")]

    def groups(self) -> list[str]:
        return [group for group in self.repository.get_group_options("", ObjectType.GROUP) if group != "hydra"]

    def is_group(self, key: str) -> bool:
        return self.repository.group_exists(key)

    def load(self, group: str, name: str) -> DictConfig:
        """Returns an option's own config, without its defaults list."""
        loaded = self.repository.load_config(f"{group}/{name}")
        if loaded is None:
            raise unknown(group, "option", name, self.options(group))
        assert isinstance(loaded.config, DictConfig)
        return loaded.config

    def compose(self, overrides: Sequence[str], run_mode: RunMode = RunMode.RUN) -> Composed:
        """Composes the config. Raises ConfigError for whatever is wrong with it."""
        rewritten = self.rewrite(overrides, sweep=run_mode == RunMode.MULTIRUN)
        try:
            rewritten += self._implied(rewritten, run_mode)
            cfg = self.hydra.compose_config(self.sources.config_name, rewritten, run_mode)
            if run_mode == RunMode.RUN:  # a sweep's are for Hydra to read again, so they stay rewritten
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

    def rewrite(self, overrides: Sequence[str], sweep: bool = False) -> list[str]:
        """Returns the overrides as Hydra is to see them: keys forced, `group=null` as a deletion, `+group` plain."""
        return [
            self._rewritten(override, text, sweep) for text, override in zip(overrides, parse(overrides), strict=True)
        ]

    def _rewritten(self, override: Override, text: str, sweep: bool) -> str:
        key = override.key_or_group
        if override.is_sweep_override() and not sweep:
            raise ConfigError(
                f"{key}: several values are a sweep and need -m; a list needs brackets, {key}=[…]. Received: {text!r}"
            )
        if key in OUR_FOLDERS:
            raise ConfigError(
                f"{key}: tfrun names and claims run folders itself. Set output_root or name. Received: {text!r}"
            )
        if key == "hydra.sweeper.params":  # an empty mapping, to be filled
            return f"++{text.lstrip('+')}"
        if key.startswith("hydra.") or key.startswith("hydra/") or override.package is not None or override.is_delete():
            return text
        value = None if override.is_sweep_override() else override.value()
        if self.is_group(key) and not isinstance(value, dict):
            if override.is_sweep_override() or isinstance(value, str | list):
                return (
                    text.lstrip("+") if key in (*settings.SECTIONS, *GLOBAL_GROUPS) else text
                )  # as experiment=, not +experiment=
            if value is None:
                return f"~{key}"
            raise unknown(key, "option", str(value), self.options(key))
        return text if override.is_add() or override.is_force_add() else f"++{text}"

    def _implied(self, overrides: list[str], run_mode: RunMode) -> list[str]:
        """Returns `early_stopping=default` where one of its keys is set and nothing chose the group."""
        if not any(override.lstrip("+").startswith("early_stopping.") for override in overrides):
            return []
        loader = self.hydra.config_loader
        choices = loader.compute_defaults_list(self.sources.config_name, overrides, run_mode).overrides.known_choices
        deleted = any(override.startswith("~early_stopping") for override in overrides)
        return [] if deleted or choices.get("early_stopping") else ["early_stopping=default"]

    def change(self, config: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
        """Applies overrides to a run's config, without composing it anew.

        A group's option replaces that part of the config; the keys of `data` that belong to no data set stay.
        """
        cfg = OmegaConf.create(config)
        try:
            for override in parse(self.rewrite(overrides)):
                key, value = override.key_or_group, override.value()
                if override.is_delete() and self.is_group(key):
                    cfg[key] = None
                elif self.is_group(key) and isinstance(value, str | list):
                    cfg[key] = OmegaConf.merge(self._shared(cfg, key), *self._load(key, value))
                else:
                    if key.startswith("early_stopping.") and cfg.get("early_stopping") is None:
                        cfg["early_stopping"] = self._load("early_stopping", "default")[0]
                    hydra_private.apply_override(override, cfg)
            return plain(cfg)
        except USER_MISTAKES as error:
            raise self.explain(error) from error

    def _shared(self, cfg: DictConfig, group: str) -> dict[str, Any]:
        keys = [key.partition(".")[2] for key in settings.config_keys() if key.startswith(f"{group}.")]
        return {
            key: cfg[group][key]
            for key in keys
            if group in settings.COMPONENT_SECTIONS and key in (cfg.get(group) or {})
        }

    def _load(self, group: str, names: str | list[str]) -> list[DictConfig]:
        if group not in settings.SECTIONS:
            raise ConfigError(f"{group}: can't be chosen for a run that exists. Set the keys themselves")
        return [self.load(group, name) for name in ([names] if isinstance(names, str) else names)]

    def explain(self, error: Exception) -> ConfigError:
        """Returns a one-line ConfigError for what Hydra, OmegaConf or PyYAML raised."""
        if not isinstance(error, MissingConfigException):
            unused = re.search(r"Could not override '(.+?)'. No match", str(error))
            return ConfigError(f"{explain(error)}{near_miss(unused[1], self.groups())}") if unused else explain(error)
        if error.missing_cfg_file is None:
            return ConfigError(f"--config-path: no such folder of configs. Received: {self.sources.config_path!r}")
        group, _, name = error.missing_cfg_file.rpartition("/")
        if group:
            return unknown(group, "option", name, self.options(group))
        return unknown("--config-name", "config", name, self.options(""))


def explain(error: Exception) -> ConfigError:
    """Returns a one-line ConfigError for what Hydra, OmegaConf or PyYAML raised."""
    if isinstance(error, ConfigCompositionException) and isinstance(error.__cause__, OmegaConfBaseException):
        error = error.__cause__
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return ConfigError(f"{mark.name}:{mark.line + 1}: not valid YAML: {error.problem}")
    if isinstance(error, OmegaConfBaseException):
        text = str(error.msg or error).partition("\n")[0]
        return ConfigError(f"{error.full_key}: {text}" if error.full_key else text)
    if isinstance(error, UnicodeDecodeError):
        return ConfigError(f"a YAML file is not in UTF-8: {error}")
    text = "\n".join(line for line in str(error).splitlines() if "full_key:" not in line and "object_type=" not in line)
    there = re.search(r"already at '(.+?)'", text)
    if there:
        return ConfigError(f"{there[1]}: is there already, so it needs no +: {there[1]}=<value>")
    return ConfigError(" ".join(text.split()))


@contextlib.contextmanager
def session(
    overrides: Sequence[str], sources: Sources | None = None, plugins: Sequence[str] | None = None
) -> Iterator[Session]:
    """Opens Hydra with the components of tfrun and of plugins.

    Args:
        overrides: the command line's; only `plugins` and `hydra.searchpath` count here.
        sources: where the configs are.
        plugins: the plugins, where they are known better than from the overrides.
    """
    sources = sources or Sources()
    if sources.config_dir and not Path(sources.config_dir).is_dir():
        folder = Path(sources.config_dir).absolute()
        siblings = [item.name for item in folder.parent.iterdir() if item.is_dir()] if folder.parent.is_dir() else []
        raise ConfigError(
            f"--config-dir: no such folder. Received: {sources.config_dir!r}.{near_miss(folder.name, siblings)}"
        )
    catalog = load_catalog(plugin_names(overrides, sources) if plugins is None else plugins)
    version.setbase("1.3")
    GlobalHydra.instance().clear()  # one left by a caller, in a notebook for example
    hydra = hydra_private.open_hydra(_search_path(catalog, sources))
    try:
        yield _session(hydra, catalog, sources, [text for text in overrides if "hydra.searchpath" in text])
    finally:
        GlobalHydra.instance().clear()


def _session(hydra: hydra_private.Hydra, catalog: Catalog, sources: Sources, search_paths: list[str]) -> Session:
    try:  # hydra.searchpath, in the primary config or an override, adds folders only now
        repository = hydra_private.open_repository(hydra.config_loader, sources.config_name, search_paths)
    except USER_MISTAKES as error:
        raise explain(error) from error
    files = [Path(source.path) for source in repository.get_sources() if source.scheme() == "file"]
    folders = list(dict.fromkeys([*files, shipped_configs()]))
    _CatalogSource.nodes = _nodes(catalog, folders)
    return Session(hydra, catalog, sources, repository, folders)


def parse(overrides: Sequence[str]) -> list[Override]:
    """Parses overrides with Hydra's grammar. Raises ConfigError with the character that it stumbled on."""
    parser, parsed = OverridesParser.create(), []
    for text in overrides:
        try:
            parsed.append(parser.parse_rule(text, "override"))
            if not parsed[-1].key_or_group:
                raise HydraException("no key")
        except HydraException as error:
            cause: Any = error.__cause__
            token = getattr(cause, "offendingToken", None)
            column = token.column if token else getattr(cause, "startIndex", None)
            place = "" if column is None else f" at character {column + 1}"
            reason = f"{str(error).partition(chr(10))[0]}. Quote special characters, as in 'key=\"a,b\"'"
            raise ConfigError(
                f"{text!r}: not an override{place}: {reason if '=' in text else 'expected key=value'}"
            ) from error
    return parsed


def plain(cfg: Any) -> dict[str, Any]:
    """Returns a config in plain containers, its interpolations resolved. Raises ValueError where it is no mapping."""
    config = OmegaConf.to_container(cfg, resolve=True)
    if not isinstance(config, dict):
        raise ValueError(f"must be a mapping. Received: {config!r}")
    return {str(key): value for key, value in config.items()}


def to_yaml(content: Any) -> str:
    """Returns plain containers as YAML that OmegaConf reads as they were; ten times as fast as OmegaConf's own."""
    return yaml.dump(content, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)


class _Dumper(yaml.CSafeDumper if hasattr(yaml, "CSafeDumper") else yaml.SafeDumper):  # type: ignore[misc]
    """Quotes the texts that YAML would take for texts and OmegaConf for numbers: `1e-3`."""


_Dumper.add_representer(str, hydra_private.text_representer())


def shipped_configs() -> Path:
    """Returns the folder of the YAML files that tfrun ships."""
    spec = importlib.util.find_spec("tfrun.conf")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]).resolve()


def plugin_names(overrides: Sequence[str], sources: Sources) -> list[str]:
    """Returns what `plugins` will be, which must be known before Hydra composes: their components are its options."""
    chosen: dict[str, Any] = {}
    for override in parse(overrides):
        value = override.value()
        chosen[override.key_or_group] = value.list if isinstance(value, Sweep) and hasattr(value, "list") else value
    if "plugins" in chosen:
        return texts(chosen["plugins"])
    names: list[str] = []
    for path in [
        sources.config_name,
        *(f"{group}/{name}" for group in GLOBAL_GROUPS for name in texts(chosen.get(group))),
    ]:
        file = next((file for folder in sources.folders() if (file := folder / f"{path}.yaml").is_file()), None)
        names = texts(_read_yaml(file).get("plugins")) or names if file else names
    return names


def texts(value: Any) -> list[str]:
    """Returns `a` and `[a]` as ["a"], anything else as []."""
    return [str(item) for item in value] if isinstance(value, list) else [value] if isinstance(value, str) else []


def _read_yaml(file: Path) -> dict[str, Any]:
    """Returns a YAML file's mapping, empty where it can't be read: Hydra will read it again and complain."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, OSError):
        return {}
    return content if isinstance(content, dict) else {}


def _search_path(catalog: Catalog, sources: Sources) -> ConfigSearchPath:
    """Returns where Hydra looks, in order: --config-dir, the primary configs, tfrun's, plugins', the catalog."""
    plugins = Plugins.instance()  # registers Hydra's own config sources
    hydra_private.add_config_source("catalog", _CatalogSource)
    path = hydra_private.empty_search_path()
    path.append("hydra", "pkg://hydra.conf")
    if sources.config_dir:
        path.append("command-line", f"file://{Path(sources.config_dir).absolute()}")
    if sources.config_path:
        where = sources.config_path
        path.append("main", where if "://" in where else f"file://{Path(where).absolute()}")
    path.append("tfrun" if sources.config_path else "main", "pkg://tfrun.conf")
    for folder in catalog.config_dirs:
        path.append("plugin", f"file://{folder}")
    for plugin in plugins.discover(SearchPathPlugin):
        plugin().manipulate_search_path(path)  # type: ignore[attr-defined]
    path.append("catalog", "catalog://")
    path.append("schema", "structured://")
    return path


def _nodes(catalog: Catalog, folders: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Returns the options that the catalog gives, as path -> config: `loss/huber`, `optimizer/for_wide_deep`."""
    nodes: dict[str, dict[str, Any]] = {}
    for group, kind in KIND_OF_GROUP.items():
        for name in catalog.names(kind):
            node = {"name": name, **catalog.get(kind, name, group).defaults()}
            if group == "optimizer":
                node |= {"schedule": None, "clip_norm": None, "groups": None}
            nodes[f"{group}/{name}"] = {name: node} if group == "metric" else node
    models = {name: catalog.find("model", name) for name in catalog.names("model")}
    for file in (file for folder in folders for file in sorted(folder.glob("model/*.yaml"))):
        models[file.stem] = catalog.find("model", _read_yaml(file).get("name"))
    return nodes | {f"optimizer/for_{name}": _groups_for(model) for name, model in models.items()}


def _groups_for(model: Component | None) -> dict[str, Any]:
    groups = (model.declared("optimizer_groups") if model else None) or ONE_GROUP
    more = {
        "schedule": None,
        "clip_norm": None,
        "every": 1,
        "from_epoch": 0,
        "until_epoch": None,
        "frozen": False,
        "optional": False,
    }
    return {
        **{"learning_rate": None, "schedule": None, "clip_norm": None},
        "groups": {
            name: {**group, **{key: value for key, value in more.items() if key not in group}}
            for name, group in groups.items()
        },
    }


class _CatalogSource(ConfigSource):
    """Gives Hydra the catalog's components as config options."""

    nodes: ClassVar[dict[str, dict[str, Any]]] = {}  # on the class, as Hydra makes and copies the sources itself

    @staticmethod
    def scheme() -> str:
        return "catalog"

    def load_config(self, config_path: str) -> ConfigResult:
        node = self.nodes.get(config_path.removesuffix(".yaml"))
        if node is None:
            raise ConfigLoadError(f"no component for {config_path}")
        defaults: list[InputDefault] = []
        return ConfigResult("catalog", "catalog://", OmegaConf.create(node), {"package": None}, defaults)

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path in KIND_OF_GROUP or config_path == ""

    def is_config(self, config_path: str) -> bool:
        return config_path.removesuffix(".yaml") in self.nodes

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == "":
            return [] if results_filter == ObjectType.CONFIG else sorted(KIND_OF_GROUP)
        if results_filter == ObjectType.GROUP:
            return []
        return sorted(path.partition("/")[2] for path in self.nodes if path.startswith(f"{config_path}/"))
