"""The defaults of config keys, read from the YAML files that ship with tfrun: for configs that older runs wrote."""

from __future__ import annotations

import functools
from typing import Any

from tfrun.config.earlier_runs import BEFORE_THE_KEY
from tfrun.config.plain import read_yaml
from tfrun.config.settings import (
    INIT_KEYS,
    OPTIONAL_SECTIONS,
    PLAIN_SECTIONS,
    PROVENANCE_KEYS,
    SHARED_KEYS,
    TOP_LEVEL_KEYS,
    field_types,
)
from tfrun.config.sources import shipped_configs


def fill_in(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the config of an older run with the keys that it lacks, because they came later, at their defaults.

    The parameters of components and the keys of optimizer groups aren't filled in: the schema knows their defaults.
    A section that may be null stays out. A key whose default means something else than what runs did before it existed
    has the value of `earlier_runs.BEFORE_THE_KEY`.
    """
    primary = shipped("config")
    filled = {key: primary[key] for key in TOP_LEVEL_KEYS if key not in config and key in primary}
    if isinstance(data := config.get("data"), dict):
        filled["data"] = {**_only(primary["data"], SHARED_KEYS["data"]), **BEFORE_THE_KEY["data"], **data}
    for section, keys in (("model", SHARED_KEYS["model"]), ("init", INIT_KEYS), ("provenance", PROVENANCE_KEYS)):
        if isinstance(value := config.get(section), dict):
            filled[section] = {**_only(primary[section], keys), **value}
    for section, settings in PLAIN_SECTIONS.items():
        value = config.get(section, None if section in OPTIONAL_SECTIONS else {})
        if isinstance(value, dict):
            before = BEFORE_THE_KEY.get(section, {}) if section in config else {}
            filled[section] = {**_only(_section(section, value), field_types(settings)), **before, **value}
    return {**config, **filled}


def _section(section: str, value: dict[str, Any]) -> dict[str, Any]:
    """Returns the file of a section that fits a config: the one that it names, or the one that is chosen by default."""
    chosen: dict[str, str] = {key: name for entry in shipped("config")["defaults"] for key, name in _items(entry)}
    return shipped(f"{section}/{value.get('name') or chosen[section] or 'default'}")


def _items(entry: Any) -> list[tuple[str, Any]]:
    return list(entry.items()) if isinstance(entry, dict) else []


def _only(values: dict[str, Any], keys: dict[str, str]) -> dict[str, Any]:
    return {key: values[key] for key in keys if key in values}


@functools.cache
def shipped(name: str) -> dict[str, Any]:
    """Returns a YAML file that ships with tfrun, `metric/regression` for example; not to be changed."""
    return read_yaml(shipped_configs() / f"{name}.yaml")
