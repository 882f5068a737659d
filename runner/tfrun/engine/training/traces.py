"""Records how often TensorFlow traces each function, and which argument was new each time."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras


class Traces:
    """Records the traces of a program's functions.

    Attributes:
        reasons: name of a function → the reason of each of its traces: `first`, or the arguments that were new.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, list[str]] = {}
        self._num_before: dict[str, int] = {}  # traces of earlier runs, by function

    def start(self) -> None:
        """Begins with another run of the program: what is traced for its shapes isn't traced again."""
        self._num_before = {name: len(reasons) for name, reasons in self.reasons.items()}

    def recorded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns the function to pass to `tf.function`: it records each of its calls, which are the traces."""
        names = list(inspect.signature(function).parameters)
        earlier: list[dict[str, str]] = []

        def record_and_call(*args: Any) -> Any:
            described = _describe(names, args)
            self.reasons.setdefault(name, []).append(_reason(described, earlier))
            earlier.append(described)
            return function(*args)

        return record_and_call

    @property
    def retraces(self) -> list[str]:
        """The function and the reason of each trace that is not a function's first in this run."""
        return [
            f"{name}: {reason}"
            for name, reasons in self.reasons.items()
            for reason in reasons[self._num_before.get(name, 0) + 1 :]
        ]


def _describe(names: list[str], args: tuple[Any, ...]) -> dict[str, str]:
    """Returns the dtype and shape of each tensor in the arguments, and the other arguments as text, by their path."""
    described = {}
    for name, argument in zip(names, args, strict=True):
        for path, leaf in keras.tree.flatten_with_path(argument):
            key = ".".join(map(str, (name, *path)))
            described[key] = f"{leaf.dtype.name} {leaf.shape}" if hasattr(leaf, "dtype") else repr(leaf)
    return described


def _reason(described: dict[str, str], earlier: list[dict[str, str]]) -> str:
    """Returns how arguments differ from those of the earlier trace that is most like this one."""
    if not earlier:
        return "first"
    differences: list[list[str]] = []
    for old in earlier:
        keys = [key for key in {**old, **described} if old.get(key) != described.get(key)]
        differences.append([f"{key} {old.get(key, 'not there')} → {described.get(key, 'not there')}" for key in keys])
    nearest = min(differences, key=len)
    return ", ".join(nearest) or "the same arguments again"
