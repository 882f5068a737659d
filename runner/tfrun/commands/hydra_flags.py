"""Hydra's flags that answer instead of training: --cfg, --info and --hydra-help."""

from __future__ import annotations

import argparse
import contextlib

from omegaconf import DictConfig, OmegaConf

from tfrun.commands.command_line import CommandLine, Flags
from tfrun.commands.inputs import compose
from tfrun.config import hydra_private, schema
from tfrun.config.compose import open_configs
from tfrun.config.keys import MissingValueError
from tfrun.errors import unknown


def any_given(flags: Flags) -> bool:
    """Returns whether one of these flags was given."""
    return bool(flags.cfg or flags.info or flags.hydra_help)


def answer(command_line: CommandLine) -> int:
    """Prints what the flag asks for and returns the exit code."""
    flags, words = command_line.flags, command_line.words
    if flags.cfg:
        configs, composed = compose(command_line)
        with contextlib.suppress(MissingValueError):  # --cfg is how to see what is missing
            schema.build_settings(composed.config, configs.catalog, overrides=words)
        cfg = composed.job if flags.cfg == "job" else configs.hydra.get_sanitized_cfg(composed.cfg, flags.cfg)
        print(_config_text(cfg, flags), end="")
        return 0
    config_name = command_line.sources.config_name
    with open_configs(command_line.settings, command_line.sources) as configs:
        if flags.hydra_help:
            namespace = argparse.Namespace(overrides=list(words))  # all that Hydra reads of its parsed flags
            configs.hydra.hydra_help(config_name, hydra_private.args_parser(), namespace)
        elif flags.info:
            configs.compose(words)  # first, since it reports mistakes in one line
            configs.hydra.show_info(flags.info, config_name, configs.rewrite(words))
    return 0


def _config_text(cfg: DictConfig, flags: Flags) -> str:
    """Returns a config as YAML: all of it, or the part that --package names."""
    if flags.resolve:
        OmegaConf.resolve(cfg)
    if not flags.package or flags.package == "_global_":
        return OmegaConf.to_yaml(cfg)
    missing = object()
    part = OmegaConf.select(cfg, flags.package, default=missing)
    if part is missing:
        raise unknown("--package", "key", name=flags.package, known=map(str, cfg))
    return f"# @package {flags.package}\n{OmegaConf.to_yaml(part)}" if OmegaConf.is_config(part) else f"{part}\n"
