"""`tfrun show GROUP=NAME…`: all about an option: a file's text, or a component's parameters and documentation.

A name alone will do if only one group has it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf

from tfrun.commands.command_line import CommandLine
from tfrun.commands.options import find_component, find_file, groups_and_kinds, names_in, summary
from tfrun.config.catalog import NOT_LITERAL, Component, Param
from tfrun.config.compose import Configs, open_configs
from tfrun.errors import ConfigError, near_miss, unknown
from tfrun.files import yaml_files
from tfrun.line_breaks import fitted, reading_width


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    words = [word for word in command_line.words if not word.lstrip("+").startswith("plugins=")]
    if not words:
        raise ConfigError("show: needs GROUP=NAME, for example loss=huber")
    with open_configs(command_line.settings, command_line.sources) as configs:
        print("\n\n".join(show_text(configs, word, width=reading_width()) for word in words))
    return 0


def show_text(configs: Configs, word: str, *, width: int) -> str:
    """Returns a YAML file's text, or a component's parameters, documentation, source and YAML.

    Sentences are broken between words where they are longer than `width` columns.
    """
    known = groups_and_kinds(configs)
    group, equals, name = word.partition("=")
    if not equals:
        group, name = _group_of(configs, word, known), word
    if group not in known:
        raise unknown("show", "group", name=group, known=known)
    names = names_in(configs, group)
    if name not in names:
        raise unknown(group, "option", name=name, known=names)
    file = find_file(configs, group, name=name)
    if file is not None:
        return f"# {file}\n{yaml_files.read_text(file).rstrip()}"
    component = find_component(configs, group, name=name)
    if component is not None:
        return _component_text(component, width)
    node = OmegaConf.create({group: configs.load(group, name)})
    return f"# {summary(configs, group, name=name)}\n{OmegaConf.to_yaml(node).rstrip()}"


def _group_of(configs: Configs, name: str, groups: Sequence[str]) -> str:
    """Returns the group that has a name. Raises ConfigError if none has it, or several."""
    names = {group: names_in(configs, group) for group in groups}
    with_name = [group for group, known in names.items() if name in known]
    if not with_name and name in groups:
        raise ConfigError(f"show: needs GROUP=NAME. tfrun list {name} has the names. Received: {name!r}")
    if not with_name:
        hint = near_miss(name, {known for group in groups for known in names[group]})
        raise ConfigError(f"show: no group has this name; tfrun list has all names. Received: {name!r}.{hint}")
    if len(with_name) > 1:
        choices = " or ".join(f"{group}={name}" for group in with_name)
        raise ConfigError(f"show: several groups have this name: {choices}")
    return with_name[0]


def _component_text(component: Component, width: int) -> str:
    doc = re.sub(r"^Args:\n(?:[ \t]+.*\n?|\n)+", "", component.doc, flags=re.MULTILINE).strip()
    lines = [
        f"{component.kind}={component.name}  {component.module}.{component.qualname}",
        component.origin,
        "",
        fitted(doc, width),
        "",
    ]
    for param in component.params:
        lines.append(_signature(param))
        lines += textwrap.wrap(param.doc, min(width, 100), initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join([*lines, "", _yaml_text(component)])


def _signature(param: Param) -> str:
    annotation = f": {param.type}" if param.type else ""
    if param.required:
        return f"  {param.name}{annotation}"
    default = "(set by the code)" if param.default is NOT_LITERAL else repr(param.default)
    return f"  {param.name}{annotation} = {default}"


def _yaml_text(component: Component) -> str:
    """Returns the component at its place in a config, with its defaults."""
    places = {"dataset": "data", "metric": f"metric.{component.name}", "schedule": "optimizer.schedule"}
    node: Any = {"name": component.name, **component.defaults()}
    if component.kind == "augmentation":
        places, node = {"augmentation": "data.augment"}, [node]
    for key in reversed(places.get(component.kind, component.kind).split(".")):
        node = {key: node}
    return OmegaConf.to_yaml(OmegaConf.create(node)).rstrip()
