"""What a command line asks beside its config: words that are no overrides, components that no config has."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from omegaconf import OmegaConf

from tfrun.config import schema
from tfrun.config.catalog import Catalog
from tfrun.config.compose import parse, plain
from tfrun.config.settings import ComponentSettings, Settings
from tfrun.errors import ConfigError, unknown
from tfrun.files import runs

PARITY_STEPS = 3  # of parity=true
ONLY_CHECKED = ("activation", "constraint", "initializer", "layer", "regularizer", "schedule")  # kinds without a group


def take(args: argparse.Namespace, key: str) -> list[str]:
    """Returns the values that the words give a key which is no config's, and takes them from the words."""
    given = [word for word in args.words if word.startswith(f"{key}=")]
    args.words = args.overrides = [word for word in args.words if word not in given]
    return [word.partition("=")[2] for word in given]


def take_formats(args: argparse.Namespace) -> list[str]:
    """Returns what `format=…` says, and takes it from the words."""
    formats = take(args, "format")
    for format in formats:
        if format not in runs.EXPORTS:
            raise unknown("format", "format", format, runs.EXPORTS)
    return formats


def take_parity_steps(args: argparse.Namespace) -> int:
    """Returns what `parity=…` says, 0 without it, and takes it from the words."""
    values = take(args, "parity")
    return _parity_steps(values[-1]) if values else 0


def _parity_steps(value: str) -> int:
    if value in ("true", "false"):
        return PARITY_STEPS if value == "true" else 0
    if not value.isdecimal():
        raise ConfigError(f"parity: must be true, false or a number of steps. Received: {value!r}")
    return int(value)


def components_alone(words: Sequence[str], catalog: Catalog) -> list[tuple[str, ComponentSettings]]:
    """Returns the components that no config has a group for, as `layer=dense layer.units=3` names them."""
    given = OmegaConf.create({})
    for override in sorted(parse(words), key=lambda override: override.key_or_group.count(".")):
        key = override.key_or_group
        OmegaConf.update(given, key if "." in key else f"{key}.name", override.value(), force_add=True)
    return [(str(kind), schema.component_alone(str(kind), own, catalog)) for kind, own in plain(given).items()]


def components_chosen(words: Sequence[str], settings: Settings) -> list[tuple[str, ComponentSettings]]:
    """Returns those of a config's components that the words choose by name and that have a contract."""
    chosen: list[tuple[str, ComponentSettings]] = []
    for group, _, name in (word.lstrip("+").partition("=") for word in words):
        if group == "loss":
            chosen.append((group, settings.loss))
        elif group == "metric" and name in settings.metric:
            chosen.append((group, settings.metric[name]))
        elif group == "optimizer":
            for own in settings.groups.values():
                if own.name is not None:
                    chosen.append((group, ComponentSettings(own.name, own.params)))
    return chosen
