"""The overrides of a sweep: the words of its command line, and those that `hydra.sweeper.params` stands for."""

from __future__ import annotations

import re
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from tfrun.config.compose import Configs
from tfrun.config.explain import USER_MISTAKES, explain
from tfrun.config.overrides import parse
from tfrun.errors import ConfigError
from tfrun.files.masking import masked


def task_words(sweep: DictConfig) -> list[str]:
    """Returns the words about the jobs, with their interpolations: each job resolves them in its own config."""
    return _texts(sweep, "task")


def hydra_words(sweep: DictConfig) -> list[str]:
    """Returns the words about Hydra itself, with their interpolations, which may name secrets."""
    return _texts(sweep, "hydra")


def recorded_words(sweep: DictConfig) -> list[str]:
    """Returns the words of a sweep's command line as they are written down, without secrets."""
    return [*map(masked, hydra_words(sweep)), *task_words(sweep)]


def parse_sweep(configs: Configs, sweep: DictConfig) -> tuple[list[str], list[Override]]:
    """Returns the overrides of `hydra.sweeper.params` and of the command line, as text and parsed.

    A key of the command line replaces that of `hydra.sweeper.params`.
    """
    loader = configs.hydra.config_loader
    words = task_words(sweep)
    given = parse(words, loader)
    keys = {item.key_or_group for item in given}
    params = [word(key, value) for key, value in sweeper_params(sweep).items() if key.lstrip("+") not in keys]
    return [*params, *words], [*parse(params, loader), *given]


def sweeper_params(sweep: DictConfig) -> dict[str, Any]:
    """Returns `hydra.sweeper.params`; what has one value keeps its interpolations, which each job resolves."""
    node = sweep.hydra.sweeper.get("params") or OmegaConf.create({})
    if not isinstance(node, DictConfig):
        raise ConfigError(f"hydra.sweeper.params: must be a mapping with the keys under it. Received: {node!r}")
    written: Any = OmegaConf.to_container(node, resolve=False)
    params = {}
    try:
        resolved: Any = OmegaConf.to_container(node, resolve=True)
        for key, value in resolved.items():
            is_single = not isinstance(value, list | dict) and not _is_sweep(word(str(key), value))
            params[str(key)] = written[key] if is_single else value
    except USER_MISTAKES as error:
        raise explain(error) from error
    return params


def swept_keys(sweep: DictConfig) -> set[str]:
    """Returns the keys for which the command line gives several values."""
    return {item.key_or_group for item in parse(task_words(sweep)) if item.is_sweep_override()}


def word(key: str, value: Any) -> str:
    """Returns the override that sets a key to a value of a YAML file; a text is read as on the command line."""
    return f"{key}={value if isinstance(value, str) else _grammar(key, value)}"


def choices_word(key: str, values: list[Any]) -> str:
    """Returns the override that sets a key to each value of a list, one after the other."""
    return f"{key}={','.join(_choice(key, value) for value in values)}"


def _texts(sweep: DictConfig, kind: str) -> list[str]:
    words: Any = OmegaConf.to_container(sweep.hydra.overrides[kind], resolve=False)
    return [str(text) for text in words]


def _choice(key: str, value: Any) -> str:
    """Returns one choice in Hydra's grammar; a text that would be several values there is quoted."""
    if not isinstance(value, str):
        return _grammar(key, value)
    try:
        is_single = value and not _is_sweep(f"{key}={value}")
    except HydraException:
        is_single = False
    return value if is_single else _quoted(value)


def _is_sweep(text: str) -> bool:
    return OverridesParser.create().parse_override(text).is_sweep_override()


def _grammar(key: str, value: Any) -> str:
    """Returns a value of a YAML file in Hydra's grammar: `null` for None, which Python writes as a text."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return f"[{','.join(_grammar(key, item) for item in value)}]"
    if isinstance(value, dict):
        items = (f"{_escaped(str(name))}:{_grammar(key, item)}" for name, item in value.items())
        return f"{{{','.join(items)}}}"
    raise ConfigError(f"hydra.sweeper.params.{key}: must be a text, number, list or mapping. Received: {value!r}")


def _escaped(name: str) -> str:
    """Returns a key of a mapping, which Hydra's grammar allows no quotes around."""
    return re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", name)


def _quoted(text: str) -> str:
    return str(QuotedString(text, Quote.single).with_quotes())
