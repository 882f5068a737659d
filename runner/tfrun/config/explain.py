"""Explains what Hydra, OmegaConf and PyYAML raise, in one line each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import yaml
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from tfrun.errors import ConfigError, near_miss, unknown

USER_MISTAKES = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, OSError)


def explain(error: Exception, groups: Sequence[str] = ()) -> ConfigError:
    """Returns a one-line ConfigError for one of USER_MISTAKES.

    Args:
        error: the exception.
        groups: the names of the config groups, for the near miss.
    """
    if isinstance(error, ConfigCompositionException) and isinstance(error.__cause__, OmegaConfBaseException):
        error = error.__cause__
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return ConfigError(f"{mark.name}:{mark.line + 1}: not valid YAML: {error.problem}")
    if isinstance(error, yaml.reader.ReaderError):
        return ConfigError(f"{error.name}: not valid YAML: {error.reason} at character {error.position + 1}")
    if isinstance(error, OmegaConfBaseException):
        if re.match("Key '.+' (is )?not in ", str(error.msg)) and isinstance(error.parent_node, DictConfig):
            where, _, name = str(error.full_key).rpartition(".")
            return unknown(where, "key", name=name, known=[key for key in map(str, error.parent_node) if key[0] != "_"])
        text = str(error.msg or error).partition("\n")[0]
        return ConfigError(f"{error.full_key}: {text}" if error.full_key else text)
    return ConfigError(_one_line(str(error), groups))


LEFT_OUT = {  # options that other tools have, and what to use instead
    "strategy/parameter_server": (
        "Use strategy=multi_worker, whose workers train the same steps together, so that the result doesn't depend on "
        "which is faster. Large tables of ids are updated by rows with every strategy"
    ),
}


def explain_missing(
    error: MissingConfigException, options: Callable[[str], list[str]], *, config_path: str | None
) -> ConfigError:
    """Returns the error for a file of the config that is not there, with the near miss.

    Args:
        error: names the file, without its ending.
        options: returns the options of a config group; of "", the primary configs.
        config_path: the command line's --config-path.
    """
    if error.missing_cfg_file is None:
        return ConfigError(f"--config-path: no such folder of configs. Received: {config_path!r}")
    group, _, name = error.missing_cfg_file.rpartition("/")
    if instead := LEFT_OUT.get(error.missing_cfg_file):
        return ConfigError(f"{group}: {name} is left out. {instead}")
    if group:
        return unknown(group, "option", name=name, known=options(group))
    return unknown("--config-name", "config", name=name, known=options(""))


def _one_line(text: str, groups: Sequence[str]) -> str:
    """Returns a message of Hydra without its lines about OmegaConf's objects."""
    existing = re.search(r"already at '(.+?)'", text)
    if existing:
        return f"{existing[1]}: is there already, so it needs no +: {existing[1]}=<value>"
    lines = [line for line in text.splitlines() if "full_key:" not in line and "object_type=" not in line]
    unused = re.search(r"Could not override '(.+?)'. No match", text)
    return " ".join(" ".join(lines).split()) + (near_miss(unused[1], groups) if unused else "")
