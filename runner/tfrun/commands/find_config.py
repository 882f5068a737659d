"""What `tfrun find lr` and `tfrun find batch_size` begin with: their options, and the config to try out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hydra.types import RunMode

from tfrun.commands.command_line import CommandLine
from tfrun.commands.inputs import Inputs, compose, read_inputs
from tfrun.config.catalog import Catalog
from tfrun.config.settings import SECTIONS, TOP_LEVEL_KEYS
from tfrun.errors import ConfigError, near_miss, unknown

LR_OPTIONS = ("from", "to", "steps", "smoothing", "group", "out", "overwrite")
BATCH_SIZE_OPTIONS = ("max", "memory")
ALL_OPTIONS = (*LR_OPTIONS, *BATCH_SIZE_OPTIONS)


@dataclass(frozen=True)
class Trial:
    """What the words of the command say.

    Attributes:
        words: the overrides.
        inputs: the config and its data.
        catalog: the components.
    """

    words: Sequence[str]
    inputs: Inputs
    catalog: Catalog

    def command(self, new: Mapping[str, str]) -> str:
        """Returns the command line that trains with some new values."""
        names = {key.rpartition(".")[2] for key in new}
        shared = {f"optimizer.{name}" for name in names}  # which can't be given together with those of a group

        def is_replaced(word: str) -> bool:
            return word.partition("=")[0].lstrip("+~") in {*new, *shared}

        kept = [word for word in self.words if not is_replaced(word)]
        return shlex.join(["tfrun", *kept, *(f"{key}={value}" for key, value in new.items())])


def pop_options(command_line: CommandLine, known: Sequence[str], *, where: str) -> tuple[dict[str, str], CommandLine]:
    """Returns the options by name, and the command line without them.

    Raises:
        ConfigError: a word looks like an option, and there is none of this name.
    """
    options: dict[str, str] = {}
    overrides = []
    for word in command_line.words:
        key, equals, value = word.partition("=")
        if equals and key in known:
            options[key] = value
            continue
        is_of_config = key in (*SECTIONS, *TOP_LEVEL_KEYS)
        if equals and not is_of_config and (key in ALL_OPTIONS or (key.isidentifier() and near_miss(key, known))):
            raise unknown(where, "option", name=key, known=known)
        overrides.append(word)
    return options, command_line.with_words(overrides)


def read_config(command_line: CommandLine, *, where: str) -> Trial:
    """Returns the config and the data that the overrides say.

    Raises:
        TfrunError: a run with these overrides would stop for this reason, or they are a sweep's.
    """
    words = command_line.words
    configs, composed = compose(command_line)
    if composed.cfg.hydra.mode == RunMode.MULTIRUN:  # a file of the group hparams_search may say so
        raise ConfigError(f"{where}: takes one config, and this is a sweep. Received: hydra.mode=MULTIRUN")
    inputs = read_inputs(composed.config, configs.catalog, overrides=words, begins=True)
    return Trial(words, inputs, configs.catalog)
