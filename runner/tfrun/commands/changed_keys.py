"""The keys of a run's config that differ from the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfrun.config.changes import UNSET, differences
from tfrun.config.compose import Configs, open_configs
from tfrun.config.plain import texts
from tfrun.config.settings import SECTIONS
from tfrun.config.sources import Sources
from tfrun.errors import TfrunError
from tfrun.files.masking import masked_in

Change = tuple[str, Any, Any]


def changed_keys(config: Mapping[str, Any], sources: Sources) -> list[Change] | None:
    """Returns (key, default, value) of each key that differs from the defaults; None if those can't be composed.

    The parameters of a component that was chosen are compared with that component's own defaults. Where the default is
    `auto`, the value is what it has become.

    Args:
        config: the run's, in plain containers.
        sources: where the configs are.
    """
    plugins = texts(config.get("plugins"))
    try:
        with open_configs([], sources, plugins=plugins) as configs:
            default = configs.compose([]).config
            choices = _choices(config, default, configs)
            chosen = configs.compose([f"{group}={name}" for group, _, name in choices]).config if choices else default
    except TfrunError:
        return None
    found = list(choices)
    groups = {group for group, _, _ in choices}
    metrics = config.get("metric")
    if "auto" in (chosen.get("metric") or ()) and isinstance(metrics, dict) and "auto" not in metrics:
        found.append(("metric", "auto", ", ".join(metrics) or "none"))
        groups.add("metric")
    for key, (before, after) in differences(chosen, config).items():
        section, _, rest = key.partition(".")
        if not (section in groups and (rest == "name" or section == "metric")):
            found.append((key, before, after))
    # without keys that came later than an older run, or whose value has become a mapping, which is there by its keys
    found = [(key, before, after) for key, before, after in found if after != UNSET]
    return [(key, *masked_in([before, after])) for key, before, after in found]


def _choices(config: Mapping[str, Any], default: Mapping[str, Any], configs: Configs) -> list[Change]:
    """Returns (group, default name, name) of each group of which the run has another option than the default one."""
    choices = []
    for group in SECTIONS:
        name, before = (_name(section.get(group)) for section in (config, default))
        if name is not None and name != before and configs.is_group(group) and name in configs.options(group):
            choices.append((group, before, name))
    return choices


def _name(section: Any) -> str | None:
    return section.get("name") if isinstance(section, dict) else None
