"""How a run's config may change after its first step, and how two configs differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tfrun.config.keys import flatten
from tfrun.config.settings import Settings
from tfrun.files import strict_json
from tfrun.files.masking import masked_in

# What may change when a run is resumed: how long it trains, what it writes, and where its data is (the contents must
# be the same). A section stands for all its keys.
CHANGEABLE = (
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.max_seconds",
    "trainer.profile",
    "logger",
    "checkpoint.every_epochs",
    "checkpoint.every_steps",
    "checkpoint.every_seconds",
    "checkpoint.keep",
    "early_stopping",
    "tags",
    "data.path",
    "data.validation_path",
    "data.test_path",
    "data.keep_samples",
    "data.cache",
    "provenance",
    "strategy.workers",
    "strategy.meeting_seconds",
    "strategy.timeout_seconds",
)
# keys that a state doesn't depend on, though `tfrun resume` doesn't change them
WITHOUT_EFFECT = ("name", "output_root", "resume")
UNSET = "unset"


def may_change(path: str) -> bool:
    """Returns whether a key may change when a run is resumed."""
    return path in CHANGEABLE or path.startswith(tuple(f"{key}." for key in CHANGEABLE))


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns the dotted paths at which two configs differ, with both values; `unset` stands for no value."""
    old, new = dict(flatten(before)), dict(flatten(after))
    return {
        path: (old.get(path, UNSET), new.get(path, UNSET))
        for path in {**old, **new}
        if (path in old, old.get(path)) != (path in new, new.get(path))
    }


def describe(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """Returns changes on one line: `seed: 42 -> 43; loss.delta: 1.0 -> 2.0`."""
    return "; ".join(f"{path}: {old!r} -> {new!r}" for path, (old, new) in changes.items())


def recorded(settings: Settings) -> dict[str, Any]:
    """Returns a config as the manifest of a checkpoint has it: what `json` reads back from its own text."""
    plain: dict[str, Any] = json.loads(strict_json.dumps(masked_in(settings.to_dict()), default=str))
    return plain


def changed_since(
    saved: Mapping[str, Any], settings: Settings, *, also: tuple[str, ...] = ()
) -> dict[str, tuple[Any, Any]]:
    """Returns what has changed since a config was saved, in the manifest of a checkpoint for example, and may not.

    Keys that it doesn't know are left out: a later version of tfrun has added them.

    Args:
        saved: the config then.
        settings: the config now.
        also: keys that mustn't change either, though a run that is resumed may change them.
    """
    known = dict(flatten(saved))
    changes = differences(saved, recorded(settings))
    return {
        path: values
        for path, values in changes.items()
        if path in known and path not in WITHOUT_EFFECT and (path.startswith(also) or not may_change(path))
    }
