"""Checks a config's value against an annotation's source text, without importing the module of the annotation.

It understands bool, int, float, str, None, Any, `X | Y`, Optional, Union, Literal, list, tuple, dict and Annotated with
the ranges of `annotated_types`. A reference, `Activation` for example, names another component. Any other name accepts
every value, since only the component itself can check it.
"""

from __future__ import annotations

import ast
import contextlib
import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeAlias

from tfrun.errors import ConfigError, near_miss

BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "Gt": (lambda value, bound: value > bound, "> {}"),
    "Ge": (lambda value, bound: value >= bound, ">= {}"),
    "Lt": (lambda value, bound: value < bound, "< {}"),
    "Le": (lambda value, bound: value <= bound, "<= {}"),
    "MultipleOf": (lambda value, bound: value % bound == 0, "a multiple of {}"),
    "MinLen": (lambda value, bound: len(value) >= bound, "of at least {} items"),
    "MaxLen": (lambda value, bound: len(value) <= bound, "of at most {} items"),
}
SCALARS = {"bool": "true or false", "int": "a whole number", "float": "a finite number", "str": "text", "None": "null"}
REFERENCES = {  # annotation -> the kind of component that it names
    "Activation": "activation",
    "Constraint": "constraint",
    "Initializer": "initializer",
    "Layer": "layer",
    "Loss": "loss",
    "Regularizer": "regularizer",
}
# For a component's annotations. Its code receives the object, or what Keras' layers accept instead.
Activation: TypeAlias = Any
Constraint: TypeAlias = Any
Initializer: TypeAlias = Any
Layer: TypeAlias = Any
Loss: TypeAlias = Any
Regularizer: TypeAlias = Any

CONTAINERS = {"list": "a list", "tuple": "a list", "dict": "a mapping"}


class _Mismatch(Exception):
    """The value doesn't fit the type."""


def check_value(type_source: str | None, value: Any, *, where: str, default: Any = None) -> Any:
    """Returns `value` in the annotation's type: an int becomes a float, a list a tuple.

    Args:
        type_source: the annotation's source text; None takes the type of the default.
        value: a plain value, as read from YAML.
        where: the config path, for the message.
        default: the parameter's default; None also allows null.

    Raises:
        ConfigError: the value doesn't fit.
    """
    source = type_source or (type(default).__name__ if isinstance(default, bool | int | float | str) else "Any")
    if value is None and default is None and type_source is None:
        return None
    tree = _parse(source, where)
    try:
        return _convert(tree, value)
    except _Mismatch:
        hint = near_miss(value, _choices(tree)) if isinstance(value, str) else _quoting(tree, value, where=where)
        raise ConfigError(f"{where}: must be {_describe(tree)}. Received: {value!r}.{hint}") from None


def named_values(type_source: str | None, components: Callable[[str], list[str]]) -> list[str]:
    """Returns the values that a type names: choices of a Literal, true and false, null, registered components.

    Args:
        type_source: an annotation's source text; None names nothing.
        components: returns the names of a kind of components.
    """
    if type_source is None:
        return []
    tree = _parse(type_source, type_source)
    names = {_name(node) for node in ast.walk(tree) if isinstance(node, ast.expr)}
    values = _choices(tree) + ["true", "false"] * ("bool" in names)
    values += [name for reference in names & REFERENCES.keys() for name in components(REFERENCES[reference])]
    return values + ["null"] * ("None" in names)


def map_references(type_source: str | None, value: Any, *, where: str, change: Callable[[str, Any, str], Any]) -> Any:
    """Returns a value in which `change(kind, value, where)` replaces each part that names a component.

    Args:
        type_source: the annotation's source text; `value` fits it.
        value: a plain value.
        where: its config path.
        change: receives the kind of component, the name or mapping that chooses it, and the config path of that.
    """
    return _map(_parse(type_source or "Any", where), value, where=where, change=change)


def _map(tree: ast.expr, value: Any, *, where: str, change: Callable[[str, Any, str], Any]) -> Any:
    name, arguments = _name(tree), _arguments(tree)
    if name in REFERENCES:
        return change(REFERENCES[name], value, where)
    if name in ("Union", "Optional"):
        for argument in arguments:
            with contextlib.suppress(_Mismatch):
                _convert(argument, value)
                return _map(argument, value, where=where, change=change)
    if name == "Annotated":
        return _map(arguments[0], value, where=where, change=change)
    if name == "dict" and len(arguments) == 2:
        return {key: _map(arguments[1], item, where=f"{where}.{key}", change=change) for key, item in value.items()}
    if name == "list" and arguments:
        return [_map(arguments[0], item, where=f"{where}.{k}", change=change) for k, item in enumerate(value)]
    return value


def column_kind(type_source: str | None, default: Any = None) -> str | None:
    """Returns what a column of a type's values holds: "number", "bool", "text", or None if the type doesn't say.

    It is "number" if one of the alternatives is a number (`float | None`, `int | Literal["auto"]`), and "text" if one
    of them is a list or a mapping, which TensorBoard lacks.

    Args:
        type_source: the annotation's source text; None takes the type of the default.
        default: the parameter's default.
    """
    source = type_source or (type(default).__name__ if isinstance(default, bool | int | float | str) else "Any")
    kinds = set(_kinds(_parse(source, source)))
    if "container" in kinds:
        return "text"
    return next((kind for kind in ("number", "bool", "text") if kind in kinds), None)


def _kinds(tree: ast.expr) -> Iterator[str]:
    """Yields the kinds of the alternatives of a type."""
    name, arguments = _name(tree), _arguments(tree)
    if name in ("Union", "Optional"):
        for argument in arguments:
            yield from _kinds(argument)
    elif name == "Annotated":
        yield from _kinds(arguments[0])
    elif name == "Literal":
        for choice in map(ast.literal_eval, arguments):
            yield "bool" if isinstance(choice, bool) else "number" if isinstance(choice, int | float) else "text"
    elif name in CONTAINERS or name in REFERENCES:
        yield "container"
    elif name in ("int", "float", "bool", "str"):
        yield {"bool": "bool", "str": "text"}.get(name, "number")


@cache
def _parse(source: str, where: str) -> ast.expr:
    try:
        tree = ast.parse(source.strip(), mode="eval").body
        return _parse(tree.value, where) if isinstance(tree, ast.Constant) and isinstance(tree.value, str) else tree
    except SyntaxError as error:
        raise ConfigError(f"{where}: its type annotation is no Python. Received: {source!r}") from error


def _convert(tree: ast.expr, value: Any) -> Any:
    name, arguments = _name(tree), _arguments(tree)
    if name in ("Union", "Optional"):
        return _first(arguments, value)
    if name == "Literal":
        for choice in map(ast.literal_eval, arguments):
            if value == choice and type(value) is type(choice):
                return value
        raise _Mismatch
    if name == "Annotated":
        return _bounded(arguments, value)
    if name in CONTAINERS:
        return _contained(name, arguments, value=value)
    return _scalar(name, value)


def _first(arguments: list[ast.expr], value: Any) -> Any:
    for argument in arguments:
        try:
            return _convert(argument, value)
        except _Mismatch:
            continue
    raise _Mismatch


def _bounded(arguments: list[ast.expr], value: Any) -> Any:
    value = _convert(arguments[0], value)
    for name, bound in _bounds(arguments[1:]):
        if value is not None and not BOUNDS[name][0](value, bound):
            raise _Mismatch
    return value


def _contained(name: str, arguments: list[ast.expr], *, value: Any) -> Any:
    if name == "dict":
        if not isinstance(value, dict):
            raise _Mismatch
        return {key: _convert(arguments[1], item) if arguments else item for key, item in value.items()}
    if not isinstance(value, list | tuple):
        raise _Mismatch
    if name == "tuple" and arguments and _name(arguments[-1]) != "...":
        if len(arguments) != len(value):
            raise _Mismatch
        return tuple(_convert(argument, item) for argument, item in zip(arguments, value, strict=True))
    items = [_convert(arguments[0], item) if arguments else item for item in value]
    return tuple(items) if name == "tuple" else items


def _scalar(name: str, value: Any) -> Any:
    fits = {
        "bool": isinstance(value, bool),
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, int | float) and not isinstance(value, bool) and _finite(value),
        "str": isinstance(value, str),
        "None": value is None,
        **dict.fromkeys(REFERENCES, isinstance(value, str | dict)),
    }
    if not fits.get(name, True):
        raise _Mismatch
    return float(value) if name == "float" else value


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        return False


def _describe(tree: ast.expr) -> str:
    """Returns a description of the values that a type accepts: `a finite number > 0, or null`."""
    name, arguments = _name(tree), _arguments(tree)
    if name in ("Union", "Optional"):
        return ", or ".join(_describe(argument) for argument in arguments)
    if name == "Literal":
        choices = ", ".join(repr(ast.literal_eval(choice)) for choice in arguments)
        return choices if len(arguments) == 1 else f"one of {choices}"
    if name == "Annotated":
        bounds = [BOUNDS[bound][1].format(limit) for bound, limit in _bounds(arguments[1:])]
        return " ".join([_describe(arguments[0]), " and ".join(bounds)])
    if name in CONTAINERS:
        items = [item for item in arguments[name == "dict" :] if _name(item) not in ("Any", "...")]
        count = len(arguments) if name == "tuple" and not any(_name(item) == "..." for item in arguments) else 0
        head = f"{CONTAINERS[name]} of {count}" if count else CONTAINERS[name]
        return ", each ".join([head, *dict.fromkeys(_describe(item) for item in items)])
    if name in REFERENCES:
        return f"the name of a registered {REFERENCES[name]} or a mapping with its name and parameters"
    return SCALARS.get(name, name)


def _quoting(tree: ast.expr, value: Any, *, where: str) -> str:
    wants_text = "str" in {_name(node) for node in ast.walk(tree) if isinstance(node, ast.expr)}
    quoted = "[" + ",".join(f"'{item}'" for item in value) + "]" if isinstance(value, list) else f"'{value}'"
    is_text = wants_text and value and not isinstance(value, dict)
    return f""" Text that looks like a number needs quotes: {where}="{quoted}".""" if is_text else ""


def _choices(tree: ast.expr) -> list[str]:
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _bounds(constraints: list[ast.expr]) -> list[tuple[str, Any]]:
    """Returns `Gt(0), Interval(ge=1, lt=2)` as [("Gt", 0), ("Ge", 1), ("Lt", 2)]; ignores other metadata."""
    bounds = []
    for call in constraints:
        if isinstance(call, ast.Call):
            name = _name(call.func)
            bounds += [(name, ast.literal_eval(argument)) for argument in call.args]
            for keyword in call.keywords:
                inner = str(keyword.arg).title() if name == "Interval" else name
                bounds.append((inner, ast.literal_eval(keyword.value)))
    return [(name, bound) for name, bound in bounds if name in BOUNDS and bound is not None]


def _name(tree: ast.expr) -> str:
    """Returns the last part of a type's name: `float`, `Literal`, `Union` for `X | Y`, `...` for an ellipsis."""
    if isinstance(tree, ast.Subscript):
        return _name(tree.value)
    if isinstance(tree, ast.BinOp):
        return "Union"
    if isinstance(tree, ast.Constant):
        return "..." if tree.value is ... else str(tree.value)
    plain = tree.attr if isinstance(tree, ast.Attribute) else tree.id if isinstance(tree, ast.Name) else "Any"
    return {"List": "list", "Tuple": "tuple", "Sequence": "list", "Dict": "dict", "Mapping": "dict"}.get(plain, plain)


def _arguments(tree: ast.expr) -> list[ast.expr]:
    if isinstance(tree, ast.BinOp):
        return [tree.left, tree.right]
    if not isinstance(tree, ast.Subscript):
        return []
    inner = list(tree.slice.elts) if isinstance(tree.slice, ast.Tuple) else [tree.slice]
    return [*inner, ast.Constant(None)] if _name(tree) == "Optional" else inner
