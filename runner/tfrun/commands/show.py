"""`tfrun show GROUP=NAME…`: all about an option: a file's text, or a component's parameters and documentation."""

from __future__ import annotations

import re
import textwrap
from typing import Any

from omegaconf import OmegaConf

from tfrun.commands.command_line import CommandLine
from tfrun.commands.options import find_component, find_file, groups_and_kinds, names_in, summary
from tfrun.config.catalog import NOT_LITERAL, Component, Param
from tfrun.config.compose import Configs, open_configs
from tfrun.errors import ConfigError, unknown
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
    group, equals, name = word.partition("=")
    if not equals:
        raise ConfigError(f"show: needs GROUP=NAME, for example loss=huber. Received: {word!r}")
    known = groups_and_kinds(configs)
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
