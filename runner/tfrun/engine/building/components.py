"""Builds registered components from their settings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras

from tfrun.config.catalog import Catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.types import map_references
from tfrun.engine.building.kinds import check_built, named
from tfrun.engine.training.hyperparameters import Hyperparameters
from tfrun.errors import ConfigError

# of the floats of a kind, if it isn't Keras' floatx: a schedule computes with the step, in float32 at any precision
INPUT_DTYPES = {"schedule": "float32"}


def build_component(
    kind: str,
    settings: ComponentSettings,
    *,
    catalog: Catalog,
    where: str,
    offered: Mapping[str, Any] | None = None,
    inputs: Hyperparameters | None = None,
) -> Any:
    """Calls a registered class or function with its parameters.

    Args:
        kind: the kind of component.
        settings: its name and parameters.
        catalog: the components that exist.
        where: the component's path in the config, for messages.
        offered: further arguments, each passed if the component has a parameter of that name.
        inputs: collects the component's floats as inputs of the program, if it accepts them as such.

    Raises:
        ConfigError: the component refuses its parameters, or isn't what its kind must be.
    """
    component = catalog.get(kind, settings.name, where=where).load()
    accepted = inspect.signature(component).parameters
    more = {name: value for name, value in (offered or {}).items() if name in accepted}
    params = _build_params(kind, settings, catalog=catalog, where=where, inputs=inputs)
    built = _call(component, params, more, kind=kind, settings=settings, where=where, inputs=inputs)
    check_built(kind, built, named(kind, settings, catalog, where=where))
    return built


def _call(
    component: Callable[..., Any],
    params: Mapping[str, Any],
    more: Mapping[str, Any],
    *,
    kind: str,
    settings: ComponentSettings,
    where: str,
    inputs: Hyperparameters | None,
) -> Any:
    """Calls a class or a function with its parameters, floats as inputs of the program if it accepts them as such."""
    if inputs is not None:
        try:
            return component(**inputs.wrap(where, params, dtype=INPUT_DTYPES.get(kind)), **more)
        except (ValueError, TypeError):  # Keras' SGD requires a float, for instance
            inputs.forget(where)
    try:
        return component(**params, **more)
    except (ValueError, TypeError, KeyError) as error:
        # Keras and people's own checks report a wrong parameter this way
        given = {"name": settings.name, **settings.params}
        raise ConfigError(f"{where}: {settings.name} refuses its parameters: {error}. Received: {given}") from error


def build_function(
    kind: str,
    settings: ComponentSettings,
    *,
    catalog: Catalog,
    where: str,
    inputs: Hyperparameters | None = None,
) -> Callable[..., Any]:
    """Returns a registered function with its parameters filled in, or an object of a registered class.

    Raises:
        ConfigError: the component refuses its parameters, or isn't what its kind must be.
    """
    component = catalog.get(kind, settings.name, where=where).load()
    if inspect.isclass(component):
        return build_component(kind, settings, catalog=catalog, where=where, inputs=inputs)
    params = _build_params(kind, settings, catalog=catalog, where=where, inputs=inputs)
    built = component  # without parameters not a partial, since Keras saves a function by its name
    if params:
        if inputs is not None:
            params = inputs.wrap(where, params, dtype=INPUT_DTYPES.get(kind))
        built = functools.partial(component, **params)
    check_built(kind, built, named(kind, settings, catalog, where=where))
    return built


def _build_params(
    kind: str, settings: ComponentSettings, *, catalog: Catalog, where: str, inputs: Hyperparameters | None
) -> dict[str, Any]:
    """Returns a component's parameters, with objects in place of those that name another component."""
    types = {param.name: param.type for param in catalog.get(kind, settings.name, where=where).params}

    def build(inner_kind: str, value: Any, path: str) -> Any:
        named = {"name": value} if isinstance(value, str) else value
        params = {key: item for key, item in named.items() if key != "name"}
        if catalog.find(inner_kind, named["name"]):
            chosen = ComponentSettings(named["name"], params)
            return build_function(inner_kind, chosen, catalog=catalog, where=path, inputs=inputs)
        if inner_kind == "layer":
            try:
                return getattr(keras.layers, named["name"])(**params)
            except (ValueError, TypeError) as error:
                raise ConfigError(f"{path}: Keras refuses its parameters: {error}. Received: {named}") from error
        # Keras' layers take a config in place of an object
        return {"class_name": named["name"], "config": params} if params else named["name"]

    return {
        name: map_references(types.get(name), value, where=f"{where}.{name}", change=build)
        for name, value in settings.params.items()
    }
