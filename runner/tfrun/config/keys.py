"""Config keys: mappings, names and the errors for keys that don't exist."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from tfrun.config.settings import config_keys
from tfrun.errors import ConfigError

SHORT_NAMES = {  # what people type -> the key
    "accumulate_grad_batches": "microbatches",
    "bs": "batch_size",
    "ema": "ema_decay",
    "epochs": "max_epochs",
    "gradient_accumulation_steps": "microbatches",
    "lr": "learning_rate",
    "steps": "max_steps",
}
NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"


class MissingValueError(ConfigError):
    """A key that must be given is still `???`."""


def check_name(where: str, name: Any) -> None:
    """Raises ConfigError unless `name` can be a folder's name."""
    if not (isinstance(name, str) and re.fullmatch(NAME, name)):
        raise ConfigError(
            f"{where}: a name has 1 to 100 letters, digits and ._- and can't start with . or -. Received: {name!r}"
        )


def check_pattern(where: str, pattern: str) -> None:
    """Raises ConfigError unless a text is a regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{where}: not a regular expression: {error}. Received: {pattern!r}") from error


def require_mapping(where: str, value: Any) -> dict[str, Any]:
    """Returns `value`. Raises ConfigError unless it is a mapping."""
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: must be a mapping with the keys under it. Received: {value!r}")
    return value


def flatten(config: Any, where: str = "") -> list[tuple[str, Any]]:
    """Returns a nested mapping's leaves as (dotted path, value)."""
    if not isinstance(config, dict) or not config:
        return [(where, config)]
    return [leaf for key, value in config.items() for leaf in flatten(value, f"{where}.{key}" if where else str(key))]


def short_names(keys: Sequence[str]) -> list[str]:
    """Returns the keys as short as they can be and still differ: `learning_rate` for `optimizer.learning_rate`."""

    def ends(count: int) -> list[str]:
        return [".".join(key.split(".")[-count:]) for key in keys]

    longest = max((key.count(".") + 1 for key in keys), default=1)
    return next((ends(count) for count in range(1, longest) if len(set(ends(count))) == len(keys)), list(keys))


def is_text(value: str) -> bool:
    """Returns whether a text can be written in UTF-8: no byte of another encoding, no half of a character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse_other_encodings(config: dict[str, Any]) -> None:
    """Raises ConfigError if a text, from an environment variable for example, can't be written in UTF-8."""
    for path, value in flatten(config):
        for text in (path, *(value if isinstance(value, list) else [value])):
            if isinstance(text, str) and not is_text(text):
                raise ConfigError(f"{ascii(path)[1:-1]}: must be a text in UTF-8. Received: {ascii(text)}")


def refuse_missing(config: dict[str, Any]) -> None:
    """Raises MissingValueError if any value is still `???`."""
    missing = [path for path, value in flatten(config) if value == "???"]
    if missing:
        raise MissingValueError(f"{', '.join(missing)}: must be given, for example {missing[0]}=<value>")


def refuse_unknown(where: str, value: dict[str, Any], *, known: Iterable[str]) -> None:
    """Raises ConfigError if a mapping has a key that is not known."""
    known = list(known)
    for key in value:
        if key not in known:
            raise unknown_key(where, key, known=known)


def unknown_key(where: str, key: Any, *, known: Iterable[str], advice: str = "") -> ConfigError:
    """Returns the error for a key that doesn't exist.

    It ends with `advice` or, if there is none, with the near miss in the key's section or, failing that, elsewhere.
    """
    prefix = f"{where}." if where else ""
    here = {name: f"{prefix}{name}" for name in known}
    others = ["optimizer.learning_rate", "optimizer.clip_norm", *config_keys()]
    elsewhere = {path.rpartition(".")[2]: path for path in others if path != f"{prefix}{key}"}
    hint = f" {advice}" if advice else ""
    for places, cutoff in ((here, 0.6), (elsewhere, 0.75)):
        close = difflib.get_close_matches(SHORT_NAMES.get(key, str(key)), list(places), n=1, cutoff=cutoff)
        if close and not hint:
            hint = f" Did you mean '{places[close[0]]}'?"
            break
    return ConfigError(f"{prefix}{key}: unknown key. Known: {', '.join(sorted(here.values()))}.{hint}")
