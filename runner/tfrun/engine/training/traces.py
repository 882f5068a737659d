"""How often TensorFlow traced each function, and which argument was new."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras


class Traces:
    """Notes the traces of a program's functions.

    Attributes:
        reasons: function → why it was traced, each time: `first`, or the arguments that were new.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, list[str]] = {}

    def noting(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the function as `tf.function` is to get it: while it is traced, that is noted."""
        names, seen = list(inspect.signature(function).parameters), list[dict[str, str]]()

        def noted(*args: Any) -> Any:
            described = _described(names, args)
            self.reasons.setdefault(name, []).append(_what_is_new(described, seen))
            seen.append(described)
            return function(*args)

        return noted

    @property
    def again(self) -> list[str]:
        """What was traced more than once, and why."""
        return [f"{name}: {why}" for name, reasons in self.reasons.items() for why in reasons[1:]]


def _described(names: list[str], args: tuple[Any, ...]) -> dict[str, str]:
    described = {}
    for name, argument in zip(names, args, strict=True):
        for path, leaf in keras.tree.flatten_with_path(argument):
            key = ".".join(map(str, (name, *path)))
            described[key] = f"{leaf.dtype.name} {leaf.shape}" if hasattr(leaf, "dtype") else repr(leaf)
    return described


def _what_is_new(described: dict[str, str], seen: list[dict[str, str]]) -> str:
    """Says how arguments differ from those of the earlier trace that is most like this one."""
    if not seen:
        return "first"
    differences: list[list[str]] = []
    for old in seen:
        keys = [key for key in {**old, **described} if old.get(key) != described.get(key)]
        differences.append([f"{key} {old.get(key, 'not there')} → {described.get(key, 'not there')}" for key in keys])
    nearest = min(differences, key=len)
    return ", ".join(nearest) or "the same arguments again"
