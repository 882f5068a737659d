"""Explains why a text is no override: Hydra's grammar can't parse it, or one of its functions refuses its arguments."""

from __future__ import annotations

import re
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from tfrun.errors import ConfigError, unknown

CALL = re.compile(
    r"(?P<exception>\w+) while evaluating '(?P<call>(?P<function>\w+) *\((?P<arguments>.*)\))': ?(?P<reason>.*)"
)
MISMATCH = re.compile(r"mismatch type argument (?P<argument>\S+): (?P<type>\w+) is incompatible with .*")
TYPES = {"NoneType": "null", "str": "text", "bool": "true or false", "list": "a list", "dict": "a mapping"}
OF_VALUES = ("choice", "shuffle", "sort")  # the functions whose arguments are values, as they are in key=a,b
QUOTED = "Text with parentheses needs quotes, as in 'key=\"a (b)\"'"


def not_an_override(text: str, error: HydraException) -> ConfigError:
    """Returns the error for a text that Hydra's grammar refuses; it says at which character, if Hydra does."""
    first_line = str(error).partition("\n")[0]
    call = CALL.fullmatch(first_line)
    if call:
        return _refused_call(text.partition("=")[0].lstrip("+"), call)
    cause: Any = error.__cause__
    token = getattr(cause, "offendingToken", None)
    column = token.column if token else getattr(cause, "startIndex", None)
    place = "" if column is None else f" at character {column + 1}"
    reason = "expected key=value"
    if "=" in text:
        reason = f"{first_line}. Quote special characters, as in 'key=\"a,b\"'"
    return ConfigError(f"{text!r}: not an override{place}: {reason}")


def _refused_call(key: str, call: re.Match[str]) -> ConfigError:
    """Returns the error for a function of Hydra's grammar that there isn't, or that refuses its arguments."""
    function, received = call["function"], f"Received: {call['call']!r}"
    functions = OverridesParser.create().functions.definitions
    if function not in functions:
        error = unknown(key, "function", name=function, known=functions)
        return ConfigError(f"{error} {QUOTED}")
    mismatch = MISMATCH.fullmatch(call["reason"])
    if mismatch and mismatch["type"] == "NoneType" and function in OF_VALUES:
        values = f"{key}={call['arguments'].replace(' ', '')}"
        return ConfigError(f"{key}: {function} takes no null. {received}. Write the values without it: {values}")
    names = ["..." if str(given)[0] == "*" else name for name, given in functions[function].parameters.items()]
    reason = call["reason"]
    if call["exception"] == "AssertionError":  # Hydra's own casts have no words for null
        reason = "its argument can't be converted"
    if mismatch:
        reason = f"{mismatch['argument']} can't be {TYPES.get(mismatch['type'], mismatch['type'])}"
    return ConfigError(f"{key}: {function}({', '.join(names)}): {reason}. {received}. {QUOTED}")
