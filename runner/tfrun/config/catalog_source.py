"""The catalog's components as options of Hydra's config groups: `loss=huber` works without a file `loss/huber.yaml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.default_element import InputDefault
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import OmegaConf

from tfrun.config.catalog import Catalog, Component
from tfrun.config.plain import read_yaml
from tfrun.config.settings import COMPONENT_SECTIONS

SCHEME = "catalog"
KIND_OF_GROUP = {**COMPONENT_SECTIONS, "metric": "metric", "optimizer": "optimizer"}
ONE_GROUP = {"all": {"match": ".*", "name": "adam", "learning_rate": 0.001}}  # for a model that asks for no groups
SHARED_OPTIMIZER_KEYS = {"learning_rate": None, "schedule": None, "clip_norm": None, "rows": None}
OPTIMIZER_GROUP_KEYS = {
    "schedule": None,
    "clip_norm": None,
    "every": 1,
    "from_epoch": 0,
    "until_epoch": None,
    "frozen": False,
    "optional": False,
    "rows": "auto",
    "statistics": "auto",
    "layer_decay": None,
}


def catalog_options(
    catalog: Catalog, folders: Sequence[Path], groups: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """Returns the options that components give, as path → config: `loss/huber`, `optimizer/for_wide_deep`.

    Args:
        catalog: the components.
        folders: of YAML files; a `model/small.yaml` in one gives the option `optimizer/for_small`.
        groups: model -> the optimizer groups that it asked for in an earlier version, if these are wanted.
    """
    options: dict[str, dict[str, Any]] = {}
    for group, kind in KIND_OF_GROUP.items():
        for name in catalog.names(kind):
            config = {"name": name, **catalog.get(kind, name, where=group).defaults()}
            if group == "optimizer":
                config |= {"schedule": None, "clip_norm": None, "rows": None, "groups": None}
            options[f"{group}/{name}"] = {name: config} if group == "metric" else config
    models = {name: catalog.find("model", name) for name in catalog.names("model")}
    for folder in folders:
        for file in sorted(folder.glob("model/*.yaml")):
            models[file.stem] = catalog.find("model", read_yaml(file).get("name"))
    before = groups or {}
    return options | {f"optimizer/for_{name}": _optimizer_for(model, before) for name, model in models.items()}


def _optimizer_for(model: Component | None, before: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an optimizer section with the groups that a model asks for, their missing keys filled in."""
    declared = model and (before.get(model.name) or model.declared("optimizer_groups"))
    groups = declared or ONE_GROUP
    filled = {}
    for name, group in groups.items():
        missing = {key: default for key, default in OPTIMIZER_GROUP_KEYS.items() if key not in group}
        filled[name] = {**group, **missing}
    return {**SHARED_OPTIMIZER_KEYS, "groups": filled}


def catalog_source(options: Mapping[str, Mapping[str, Any]]) -> type[ConfigSource]:
    """Returns a class of Hydra's that offers options by their path.

    Hydra makes and copies its sources itself, from what stands in the search path, so the options can't be an argument
    of the constructor. A class for each catalog, instead of one whose options are replaced, keeps catalogs apart.
    """

    class CatalogSource(ConfigSource):
        @staticmethod
        def scheme() -> str:
            return SCHEME

        def load_config(self, config_path: str) -> ConfigResult:
            config = options.get(config_path.removesuffix(".yaml"))
            if config is None:
                raise ConfigLoadError(f"no component for {config_path}")
            defaults: list[InputDefault] = []
            return ConfigResult(SCHEME, f"{SCHEME}://", OmegaConf.create(dict(config)), {"package": None}, defaults)

        def available(self) -> bool:
            return True

        def is_group(self, config_path: str) -> bool:
            return config_path in KIND_OF_GROUP or config_path == ""

        def is_config(self, config_path: str) -> bool:
            return config_path.removesuffix(".yaml") in options

        def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
            if config_path == "":
                return [] if results_filter == ObjectType.CONFIG else sorted(KIND_OF_GROUP)
            if results_filter == ObjectType.GROUP:
                return []
            return sorted(path.partition("/")[2] for path in options if path.startswith(f"{config_path}/"))

    return CatalogSource
