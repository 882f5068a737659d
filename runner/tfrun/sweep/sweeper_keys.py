"""The keys of `hydra.sweeper`, checked by their types as a component's parameters are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tfrun.config.types import check_value
from tfrun.errors import unknown


def read_settings(sweeper: DictConfig, types: Mapping[str, str]) -> dict[str, Any]:
    """Returns the settings of a sweeper as plain values.

    Args:
        sweeper: `hydra.sweeper`.
        types: each key's annotation.

    Raises:
        ConfigError: a key isn't known, or a value doesn't fit.
    """
    settings: Any = OmegaConf.to_container(sweeper, resolve=True)
    settings.pop("_target_")
    for key in settings:
        if key not in types:
            raise unknown("hydra.sweeper", "key", key, types)
    return {key: check_value(types[key], value, f"hydra.sweeper.{key}") for key, value in settings.items()}
