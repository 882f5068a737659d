"""Overrides, the `key=value` words of a command line: parsed, and rewritten into what Hydra should see.

A plain `key=value` is handed to Hydra as `++key=value`, which sets the key whether or not it exists. Whether it may
exist is for `config.schema` to say, which knows every key and finds the near miss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from tfrun.config.override_errors import not_an_override
from tfrun.config.settings import GLOBAL_GROUPS, SECTIONS
from tfrun.errors import ConfigError, unknown

CLAIMED_BY_TFRUN = (
    "hydra.run.dir",
    "hydra.sweep.dir",
    "hydra.sweep.subdir",
    "hydra.job.chdir",
    "hydra.output_subdir",
)


class Groups(Protocol):
    """The config groups, as far as rewriting an override needs them."""

    def is_group(self, key: str) -> bool:
        """Returns whether a key is a config group."""

    def options(self, group: str) -> list[str]:
        """Returns the names that a config group offers."""


def parse(overrides: Sequence[str], config_loader: ConfigLoader | None = None) -> list[Override]:
    """Parses overrides with Hydra's grammar.

    Args:
        overrides: as a person types them.
        config_loader: knows the options that a `glob` stands for, if the overrides may hold one.

    Raises:
        ConfigError: a text is not an override; the message says at which character.
    """
    parser, parsed = OverridesParser.create(), []
    for text in overrides:
        try:
            override = parser.parse_rule(text, "override")
            if not override.key_or_group:
                raise HydraException("no key")
        except HydraException as error:
            raise not_an_override(text, error) from error
        override.config_loader = config_loader
        parsed.append(override)
    return parsed


def rewrite(overrides: Sequence[str], groups: Groups, *, is_sweep: bool = False) -> list[str]:
    """Returns overrides as Hydra should see them: keys forced, `group=null` as a deletion, `+group=x` as `group=x`.

    Args:
        overrides: as a person types them.
        groups: the config groups.
        is_sweep: whether a key may have several values, `a=1,2`.

    Raises:
        ConfigError: an override can't be parsed, or sets what it may not set.
    """
    parsed = parse(overrides)
    return [
        _rewritten(text, override, groups=groups, is_sweep=is_sweep)
        for text, override in zip(overrides, parsed, strict=True)
    ]


def _rewritten(text: str, override: Override, *, groups: Groups, is_sweep: bool) -> str:
    key = override.key_or_group
    if override.is_sweep_override() and not is_sweep:
        raise ConfigError(
            f"{key}: several values are a sweep and need -m; a list needs brackets, {key}=[…]. Received: {text!r}"
        )
    if key in CLAIMED_BY_TFRUN:
        raise ConfigError(
            f"{key}: tfrun names and claims run folders itself. Set output_root or name. Received: {text!r}"
        )
    if key == "hydra.sweeper.params":  # an empty mapping in Hydra's config, so its keys must be forced
        return f"++{text.lstrip('+')}"
    if key.startswith(("hydra.", "hydra/")) or override.package is not None or override.is_delete():
        return text
    if key == "init" and (override.is_sweep_override() or isinstance(override.value(), str)):
        return f"++init.from={text.partition('=')[2]}"
    if groups.is_group(key) and not isinstance(_value(override), dict):
        return _chosen_option(text, override, groups=groups)
    return text if override.is_add() or override.is_force_add() else f"++{text}"


def _chosen_option(text: str, override: Override, *, groups: Groups) -> str:
    """Returns the override that chooses a group's option, a list of them, one after the other in a sweep, or none."""
    key, value = override.key_or_group, _value(override)
    if override.is_sweep_override() or isinstance(value, str | list):
        is_in_defaults_list = key in SECTIONS or key in GLOBAL_GROUPS  # Hydra refuses + for those
        return text.lstrip("+") if is_in_defaults_list else text
    if value is None:
        return f"~{key}"
    raise unknown(key, "option", name=str(value), known=groups.options(key))


def _value(override: Override) -> Any:
    """Returns an override's value; None for null and for the several values of a sweep."""
    return None if override.is_sweep_override() else override.value()
