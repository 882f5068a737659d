"""Checks the `init` section: where the model's first weights come from."""

from __future__ import annotations

import re
from typing import Any

from tfrun.config.keys import check_pattern, refuse_unknown, require_mapping
from tfrun.config.settings import INIT_KEYS, InitSettings
from tfrun.config.types import check_value
from tfrun.errors import ConfigError
from tfrun.files.weights.found import RUN, kind_of


def init_settings(value: Any, *, begins: bool) -> InitSettings:
    """Returns the section as settings.

    Args:
        value: the config's `init`; a text is its `from`.
        begins: whether a run begins, so that the source has to be there.

    Raises:
        ConfigError: a key, type or pattern is wrong, or there is no such source.
    """
    given = {"from": value} if isinstance(value, str) else require_mapping("init", value or {})
    refuse_unknown("init", given, known=INIT_KEYS)
    renamed = given.get("map") or {}
    if isinstance(renamed, list):
        renamed = dict(_renaming(text) for text in renamed)
    given = {**given, "map": renamed}
    keys = {key: check_value(INIT_KEYS[key], item, where=f"init.{key}") for key, item in given.items()}
    source = keys.pop("from", None)
    if source is None:
        _refuse_without_source(keys)
        return InitSettings()
    for key in ("map", "new", "unused"):
        for pattern in keys.get(key, ()):
            check_pattern(f"init.{key}", pattern)
    for pattern, replacement in keys.get("map", {}).items():
        _check_groups(pattern, replacement)
    settings = InitSettings(source, **keys)
    if begins:
        _, kind = kind_of(source)
        if kind != RUN and settings.take != InitSettings.take:
            raise ConfigError(f"init.take: means the epochs of a run. Received: {settings.take}, init.from={source}")
        if settings.preprocessing == "same" and kind != RUN:
            raise ConfigError(
                "init.preprocessing: same needs a run, which has stored what it learnt from its rows. "
                f"Received: init.from={source}"
            )
    return settings


def _renaming(text: Any) -> tuple[str, str]:
    """Returns the pattern and the replacement of `pattern -> replacement`; Hydra's mappings have no patterns."""
    pattern, arrow, replacement = text.partition("->") if isinstance(text, str) else ("", "", "")
    if not arrow:
        raise ConfigError(
            "init.map: must be a mapping from patterns to replacements, or a list such as "
            f'["^encoder/ -> backbone/"]. Received: {text!r}'
        )
    return pattern.strip(), replacement.strip()


def _check_groups(pattern: str, replacement: str) -> None:
    """Raises ConfigError if a replacement names a group, such as $2, that its pattern doesn't have."""
    groups = re.compile(pattern).groups
    if any(int(group) > groups for group in re.findall(r"\$(\d)", replacement)):
        raise ConfigError(f"init.map: {pattern!r} has {groups} groups in parentheses. Received: {replacement!r}")


def _refuse_without_source(keys: dict[str, Any]) -> None:
    """Raises ConfigError if keys are set that mean nothing without `from`."""
    for key, value in keys.items():
        if value != getattr(InitSettings(), key):
            raise ConfigError(f"init.{key}: means nothing without init.from. Received: {value!r}")
