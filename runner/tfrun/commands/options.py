"""The config groups with their options, and the kinds of components that have no group."""

from __future__ import annotations

import re
from pathlib import Path

from tfrun.config.catalog import Component
from tfrun.config.catalog_source import KIND_OF_GROUP
from tfrun.config.compose import Configs
from tfrun.config.registry import KINDS
from tfrun.config.settings import SECTIONS
from tfrun.errors import ConfigError
from tfrun.files import yaml_files


def groups_and_kinds(configs: Configs) -> list[str]:
    """Returns the config groups, and then the kinds of components without a group that have any component."""
    kinds = [kind for kind in KINDS if kind not in KIND_OF_GROUP.values() and configs.catalog.names(kind)]
    return sorted(configs.groups(), key=_place_of_section) + kinds


def _place_of_section(group: str) -> int:
    """Returns a group's place in a config; other groups come after all sections, in their own order."""
    return SECTIONS.index(group) if group in SECTIONS else len(SECTIONS)


def names_in(configs: Configs, group: str) -> list[str]:
    """Returns the options of a config group, or the names of a kind of components."""
    return configs.options(group) if configs.is_group(group) else configs.catalog.names(group)


def find_file(configs: Configs, group: str, *, name: str) -> Path | None:
    """Returns the YAML file of an option, or None if a component is the option."""
    files = (folder / group / f"{name}.yaml" for folder in configs.folders)
    return next((file for file in files if file.is_file()), None)


def find_component(configs: Configs, group: str, *, name: str) -> Component | None:
    """Returns the component of this name, or None if there is none."""
    return configs.catalog.find(KIND_OF_GROUP.get(group, group), name)


def summary(configs: Configs, group: str, *, name: str) -> str:
    """Returns the first line of a YAML file's comment, or of a component's documentation."""
    file = find_file(configs, group, name=name)
    if file is not None:
        try:
            comments = re.findall(r"^#\s*([^@\s].*)$", yaml_files.read_text(file), re.MULTILINE)
        except ConfigError as error:  # the others can be listed
            return str(error)
        return comments[0] if comments else str(file)
    component = find_component(configs, group, name=name)
    if component is not None:
        return component.summary
    return f"The optimizers that model={name.removeprefix('for_')} asks for."
