"""Registers components: `@register.loss("huber")` gives a class or a function the name that configs use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tfrun.errors import ConfigError

KINDS = (
    "activation",
    "algorithm",
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
    """One decorator for each kind. Keep the name a literal: the catalog reads it without importing the module."""

    def __getattr__(self, kind: str) -> Callable[[str], Decorator]:
        if kind not in KINDS:
            raise AttributeError(f"register.{kind}: no such kind. Known: {', '.join(KINDS)}")
        return lambda name: lambda component: _add(kind, name, component)


register = _Register()


def _add(kind: str, name: str, component: T) -> T:
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


def lookup(kind: str, name: str) -> Any:
    """Returns what was registered; its module must have been imported. Raises KeyError."""
    return _components[kind, name]
