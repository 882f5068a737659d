"""`tfrun check [overrides]`: checks a config without training, and the contracts of the components that it names."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

from omegaconf import OmegaConf

from tfrun.commands.command_line import CommandLine, pop_word
from tfrun.commands.export_options import pop_formats
from tfrun.commands.inputs import compose, read_inputs
from tfrun.config import schema
from tfrun.config.catalog import Catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.overrides import parse
from tfrun.config.plain import plain
from tfrun.config.settings import Settings
from tfrun.errors import ConfigError, DataError
from tfrun.files import runs

PARITY_STEPS = 3  # that `parity=true` compares
# Kinds of components that are no config group, so that only `check` can name one by itself.
KINDS_WITHOUT_GROUP = ("activation", "augmentation", "constraint", "initializer", "layer", "regularizer", "schedule")


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    formats, command_line = pop_formats(command_line)
    steps, command_line = pop_parity_steps(command_line)
    alone = [word for word in command_line.words if _key(word) in KINDS_WITHOUT_GROUP]
    command_line = command_line.with_words([word for word in command_line.words if word not in alone])
    words = command_line.words
    configs, composed = compose(command_line)
    settings = schema.build_settings(composed.config, configs.catalog, overrides=words)
    checks_config = not alone or steps > 0 or bool(formats) or any(not word.startswith("plugins=") for word in words)
    chosen = {word.lstrip("+").partition("=")[0] for word in words}
    groups = [group for group in ("data", "model", "algorithm") if group in chosen]
    components = components_alone(alone, configs.catalog)
    table = None
    if checks_config:
        runs.check_output_root(settings.output_root)
        with _broken_promises(settings, configs.catalog, is_chosen="data" in groups):
            inputs = read_inputs(composed.config, configs.catalog, overrides=words, begins=True)
        settings, table = inputs.settings, inputs.table
        components += components_chosen(words, settings)
    from tfrun.load_engine import engine

    with engine(None) as (experiment, _):
        experiment.check_contracts(components, configs.catalog, precision=settings.trainer.precision)
        if table is not None:
            options = experiment.CheckOptions(parity_steps=steps, groups=groups, formats=formats)
            experiment.check(settings, configs.catalog, table=table, options=options)
    return 0


@contextlib.contextmanager
def _broken_promises(settings: Settings, catalog: Catalog, *, is_chosen: bool) -> Iterator[None]:
    """Prints which promise a plugin's data set that the words choose breaks, if its rows can't be read."""
    try:
        yield
    except DataError:
        component = catalog.get("dataset", settings.data.name, where="data.name")
        if not is_chosen or component.is_shipped:
            raise  # it is about a file
        from tfrun.load_engine import engine

        with engine(None) as (experiment, _):
            experiment.check_data_set(settings, catalog)
        raise


def _key(word: str) -> str:
    """Returns the first part of an override's key: `layer` of `+layer.units=3`."""
    return re.split(r"[.=]", word.lstrip("+"))[0]


def pop_parity_steps(command_line: CommandLine) -> tuple[int, CommandLine]:
    """Returns the number of steps that `parity=…` asks for, 0 without it, and the command line without the word."""
    values, rest = pop_word(command_line, "parity")
    return (_parity_steps(values[-1]) if values else 0), rest


def _parity_steps(value: str) -> int:
    if value in ("true", "false"):
        return PARITY_STEPS if value == "true" else 0
    if not value.isdecimal():
        raise ConfigError(f"parity: must be true, false or a number of steps. Received: {value!r}")
    return int(value)


def components_alone(words: Sequence[str], catalog: Catalog) -> list[tuple[str, ComponentSettings]]:
    """Returns the components that no config has a group for, as `layer=dense layer.units=3` names them."""
    tree = OmegaConf.create({})
    for override in sorted(parse(words), key=lambda override: override.key_or_group.count(".")):
        key = override.key_or_group
        OmegaConf.update(tree, key if "." in key else f"{key}.name", override.value(), force_add=True)
    return [(kind, schema.component_alone(kind, section, catalog=catalog)) for kind, section in plain(tree).items()]


def components_chosen(words: Sequence[str], settings: Settings) -> list[tuple[str, ComponentSettings]]:
    """Returns the components of a config that the words choose by name and that have a contract."""
    chosen: list[tuple[str, ComponentSettings]] = []
    groups = [group for group in settings.groups.values() if group.name is not None]
    for key, _, name in (word.lstrip("+").partition("=") for word in words):
        parts = key.split(".")
        if key == "loss":
            chosen.append(("loss", settings.loss))
        elif key == "metric":  # a name, a list of names, or a file with several
            names = [name] if name in settings.metric else settings.metric
            chosen += [("metric", settings.metric[metric]) for metric in names]
        elif parts[0] == "metric" and parts[1] in settings.metric and parts[2:] in ([], ["name"]):
            chosen.append(("metric", settings.metric[parts[1]]))
        elif key == "optimizer":
            chosen += [("optimizer", ComponentSettings(str(group.name), group.params)) for group in groups]
        elif parts[0] == "optimizer" and "schedule" in parts:
            chosen += [("schedule", group.schedule) for group in groups if group.schedule is not None]
    return [component for k, component in enumerate(chosen) if component not in chosen[:k]]
