"""Checks the config's data.class_weight, as far as that needs no data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfrun.config.types import check_value
from tfrun.errors import ConfigError

WHERE = "data.class_weight"


def class_weight(value: Any) -> Any:
    """Returns "balanced", class -> weight, target -> one of these, or None; names are texts, weights floats.

    Raises:
        ConfigError: it is none of these.
    """
    if not isinstance(value, dict):
        return value
    if not value:
        raise ConfigError(f"{WHERE}: must be balanced, or name a class. Received: {value}")
    are_classes = [isinstance(item, int | float) and not isinstance(item, bool) for item in value.values()]
    if any(are_classes) != all(are_classes):
        raise ConfigError(f"{WHERE}: must have weights of classes, or targets with theirs, not both. Received: {value}")
    if all(are_classes):
        return _weights(value, where=WHERE)
    targets = {}
    for name, item in value.items():
        where = f"{WHERE}.{name}"
        chosen = check_value('Literal["balanced"] | dict[str, Any]', item, where=where)
        targets[str(name)] = chosen if isinstance(chosen, str) else _weights(chosen, where=where)
    return targets


def _weights(value: Mapping[Any, Any], *, where: str) -> dict[str, float]:
    """Returns class -> weight. A class that YAML reads as true is the text "true"."""
    return {
        str(name).lower() if isinstance(name, bool) else str(name): check_value(
            "Annotated[float, Ge(0)]", weight, where=f"{where}.{name}"
        )
        for name, weight in value.items()
    }
