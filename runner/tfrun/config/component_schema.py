"""Checks the components that a config names: the name, every parameter, and the components that parameters name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tfrun.config.catalog import NOT_LITERAL, Catalog, Component
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.keras_names import KERAS_NAMES, WITHOUT_PARAMETERS
from tfrun.config.keys import MissingValueError, require_mapping, unknown_key
from tfrun.config.types import check_value, map_references
from tfrun.errors import ConfigError, unknown


def component(
    where: str, kind: str, *, value: Any, catalog: Catalog, shared: Mapping[str, Any] | None = None
) -> ComponentSettings:
    """Returns a component's name and all of its parameters, checked.

    Args:
        where: its path in the config, for messages.
        kind: the kind of component.
        value: its section of the config, plain containers.
        catalog: the components that exist.
        shared: the keys of the section that are not the component's own parameters.

    Raises:
        ConfigError: the name, a parameter, its type or its range is wrong.
    """
    shared = shared or {}
    value = require_mapping(where, value)
    chosen = named_component(where, kind, value=value, catalog=catalog)
    clash = shared.keys() & {param.name for param in chosen.params}
    if clash:
        raise ConfigError(
            f"{chosen.origin}: a {kind} can't have a parameter {min(clash)!r}; {where}.{min(clash)} is taken"
        )
    rest = {key: item for key, item in value.items() if key not in shared and key != "name"}
    params = parameters(where, chosen, value=rest, catalog=catalog, also=["name", *shared])
    return ComponentSettings(chosen.name, params)


def named_component(where: str, kind: str, *, value: dict[str, Any], catalog: Catalog) -> Component:
    """Returns the component that a section names. Raises ConfigError if it names none, or one that doesn't exist."""
    if value.get("name") is None:
        raise ConfigError(f"{where}.name: must be given. Known: {', '.join(catalog.names(kind))}.")
    return catalog.get(kind, value["name"], where=f"{where}.name")


def _others_with(where: str, key: Any, *, component: Component, catalog: Catalog) -> str:
    """Returns a sentence on which components of a section have the parameter that the chosen one lacks, if any."""
    if "." in where and component.kind != "optimizer":
        return ""
    others = [catalog.find(component.kind, name) for name in catalog.names(component.kind)]
    names = [other.name for other in others if other is not None and key in {param.name for param in other.params}]
    if not names:
        return ""
    if "." in where:  # a group keeps the keys that it had for another optimizer
        return f"{component.name} has no such key. It is one of {', '.join(names)}; ~{where}.{key} leaves it out"
    return f"{where}={component.name} has no such key. It is one of {where}={', '.join(names)}"


def parameters(
    where: str, component: Component, *, value: dict[str, Any], catalog: Catalog, also: Iterable[str] = ()
) -> dict[str, Any]:
    """Returns every parameter of a component: the given ones, checked, and the defaults of the others.

    Args:
        where: the component's path in the config.
        component: whose parameters they are.
        value: the given ones.
        catalog: the components that exist.
        also: further keys that the section may have, for the list of known ones.
    """
    known = [*also, *(param.name for param in component.params)]
    for key in value:
        if key not in known:
            raise unknown_key(
                where, key, known=known, advice=_others_with(where, key, component=component, catalog=catalog)
            )
    result: dict[str, Any] = {}
    for param in component.params:
        path = f"{where}.{param.name}"
        if param.name in value:
            default = None if param.default is NOT_LITERAL else param.default
            result[param.name] = check_value(param.type, value[param.name], where=path, default=default)
            if value[param.name] is None and param.default is NOT_LITERAL:
                del result[param.name]
        elif param.required:
            raise MissingValueError(
                f"{path}: must be given: {param.doc or f'{component.kind}={component.name} needs it'}"
            )
        elif param.default is not NOT_LITERAL:
            result[param.name] = param.default
        if param.name in result:
            result[param.name] = map_references(
                param.type,
                result[param.name],
                where=path,
                change=lambda kind, item, place: _reference(kind, item, where=place, catalog=catalog),
            )
    return result


def _reference(kind: str, value: Any, *, where: str, catalog: Catalog) -> str | dict[str, Any]:
    """Returns the component that a parameter names: {name, every parameter} of a registered one, or Keras' own name.

    One of Keras' own with parameters stays a mapping, which Keras checks.
    """
    given = {"name": value} if isinstance(value, str) else require_mapping(where, value)
    name, keras_names = given.get("name"), KERAS_NAMES.get(kind, ())
    if name not in keras_names or catalog.find(kind, name):
        if name is None or not catalog.find(kind, name):
            raise unknown(where, kind, name=str(name), known={*catalog.names(kind), *keras_names})
        return component(where, kind, value=given, catalog=catalog).to_dict()
    if len(given) > 1 and kind in WITHOUT_PARAMETERS:
        raise ConfigError(f"{where}: Keras' {name} takes no parameters. Received: {given}")
    return given if len(given) > 1 else name
