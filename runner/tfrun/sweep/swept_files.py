"""The files that a sweep chooses one after the other, `experiment=a,b`, when they hold parts of a sweep themselves.

Hydra composes the config of a sweep without the options that it sweeps, so what `a.yaml` says about sweeps would be
lost: its grid, its launcher, its sweeper.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from tfrun.config import hydra_private
from tfrun.config.compose import Configs
from tfrun.config.keys import flatten
from tfrun.errors import ConfigError
from tfrun.sweep.words import hydra_words, parse_sweep, task_words


def job_words(configs: Configs, sweep: DictConfig) -> list[list[str]]:
    """Returns the overrides of each job of a grid; a file that the grid chooses adds its own grid to its own jobs.

    Raises:
        ConfigError: a chosen file sets the launcher or the sweeper.
    """
    _, parsed = parse_sweep(configs, sweep)
    options = _with_files(configs, swept_options(parsed))
    if not _with_params(configs, sweep, options=options):
        return hydra_private.split_into_jobs(parsed)
    jobs = []
    for names in itertools.product(*options.values()):
        jobs += job_words(configs, _choosing(configs, sweep, dict(zip(options, names, strict=True))))
    return jobs


def refuse_params(configs: Configs, sweep: DictConfig, options: Mapping[str, Sequence[str]], *, source: str) -> None:
    """Raises ConfigError if a chosen file has `hydra.sweeper.params`, in a sweep that isn't a grid.

    Args:
        configs: Hydra and the components.
        sweep: the config that the jobs share.
        options: the values of the keys that are swept.
        source: what the sweep is, for the message: `a search`.
    """
    choices = _with_params(configs, sweep, options=_with_files(configs, options))
    if choices:
        group = choices[0].partition("=")[0]
        raise ConfigError(
            f"{group}: {source} has one space, but the file of {choices[0]} has hydra.sweeper.params. Choose one "
            f"{group}, or put the keys into one file, with conditions: {{value: …, when: {choices[0]}}}"
        )


def swept_options(parsed: Sequence[Override]) -> dict[str, list[str]]:
    """Returns the values of each key that overrides sweep."""
    return {item.key_or_group: list(item.sweep_string_iterator()) for item in parsed if item.is_discrete_sweep()}


def _with_files(configs: Configs, options: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Returns the config groups among swept keys that offer files, and their chosen options."""
    return {
        key: names
        for key, names in options.items()
        if configs.is_group(key) and any(_may_be_file(configs, key, name=name) for name in names)
    }


def _may_be_file(configs: Configs, group: str, *, name: str) -> bool:
    """Returns whether an option may be a YAML file; only such can set anything of Hydra's. A list may name one."""
    is_name = PurePath(name).name == name and name[:1] not in "[\"'"
    return not is_name or any((folder / group / f"{name}.yaml").is_file() for folder in configs.folders)


def _with_params(configs: Configs, sweep: DictConfig, *, options: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns the options, as `group=name`, whose files change the `hydra.sweeper.params` of the sweep.

    Raises:
        ConfigError: one changes another setting of the launcher or the sweeper.
    """
    shared_params, shared_settings = _parts(sweep)
    with_params = []
    for group, names in options.items():
        for name in names:
            params, settings = _parts(_choosing(configs, sweep, {group: name}))
            differing = [
                key for key in {**shared_settings, **settings} if settings.get(key) != shared_settings.get(key)
            ]
            if differing:
                raise ConfigError(
                    f"{group}={name}: its file sets {', '.join(differing)}, but a sweep over {group} has one launcher "
                    f"and one sweeper. Give them on the command line, or sweep each {group} by itself"
                )
            if params != shared_params:
                with_params.append(f"{group}={name}")
    return with_params


def _choosing(configs: Configs, sweep: DictConfig, choices: Mapping[str, str]) -> DictConfig:
    """Returns the config of the sweep with one option of some groups."""
    others = [word for word in task_words(sweep) if word.lstrip("+~").partition("=")[0] not in choices]
    words = [f"{group}={name}" for group, name in choices.items()]
    return configs.compose([*hydra_words(sweep), *words, *others], RunMode.MULTIRUN).cfg


def _parts(sweep: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns `hydra.sweeper.params`, and the other settings of the sweeper and the launcher by dotted path."""
    hydra: Any = OmegaConf.to_container(OmegaConf.masked_copy(sweep.hydra, ["sweeper", "launcher"]), resolve=False)
    params = hydra["sweeper"].pop("params", None) or {}
    return params, dict(flatten(hydra, "hydra"))
