"""Registers components: `@register.loss("huber")` gives a class or a function the name that configs use."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tfrun.errors import ConfigError

KINDS = (
    "activation",
    "algorithm",
    "augmentation",
    "constraint",
    "dataset",
    "initializer",
    "layer",
    "loss",
    "metric",
    "model",
    "optimizer",
    "regularizer",
    "schedule",
)

T = TypeVar("T", bound=Callable[..., Any])
Decorator = Callable[[T], T]

_components: dict[tuple[str, str], Any] = {}


class _Register:
    """One decorator for each kind.

    Keep the name and the keywords literals: the catalog reads them without importing the module. A keyword becomes an
    attribute of the component: `@register.metric("gain", higher_is_better=True)`.
    """

    def __getattr__(self, kind: str) -> Callable[..., Decorator]:
        if kind not in KINDS:
            raise AttributeError(f"register.{kind}: no such kind. Known: {', '.join(KINDS)}")

        def named(name: str, **attributes: Any) -> Decorator:
            return lambda component: _add(kind, name, component=component, attributes=attributes)

        return named


register = _Register()


def _add(kind: str, name: str, *, component: T, attributes: Mapping[str, Any]) -> T:
    for attribute, value in attributes.items():
        setattr(component, attribute, value)
    earlier = _components.setdefault((kind, name), component)
    if _origin(earlier) != _origin(component):  # the same origin again is a reloaded module
        raise ConfigError(f"{kind}={name} is registered twice: {_origin(earlier)} and {_origin(component)}")
    _components[kind, name] = component
    return component


def _origin(component: Any) -> str:
    return f"{component.__module__}.{component.__qualname__}"


def modules() -> list[str]:
    """Returns the modules that have registered something in this process."""
    return sorted({component.__module__ for component in _components.values()})


def plugin_files() -> set[str]:
    """Returns the files of people's own modules that have registered something in this process."""
    files = (sys.modules[name].__file__ for name in modules() if not name.startswith("tfrun.") and name in sys.modules)
    return {file for file in files if file}


def plugin_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Returns the lines of an error's traceback that are in `plugin_files`."""
    files = plugin_files()
    return [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]


def lookup(kind: str, name: str) -> Any:
    """Returns what was registered; its module must have been imported. Raises KeyError."""
    return _components[kind, name]
