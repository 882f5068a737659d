"""The settings of the launcher and the sweepers: types, ranges, unknown and missing keys, and `_target_`."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from tfrun.errors import ConfigError
from tfrun.sweep.launcher import ForkLauncher
from tfrun.sweep.search import Search
from tfrun.sweep.sweep_settings import LauncherSettings, PopulationSettings, is_target, read_settings


def node(**keys: Any) -> DictConfig:
    return OmegaConf.create({"_target_": "tfrun.sweep.launcher.ForkLauncher", **keys})


def test_settings_are_read() -> None:
    settings = read_settings(node(n_jobs=2, timeout_seconds=3, lanes=1), LauncherSettings, where="hydra.launcher")
    assert settings == LauncherSettings(n_jobs=2, timeout_seconds=3.0, lanes=1)
    assert isinstance(settings.timeout_seconds, float)
    settings = read_settings(node(n_jobs="auto", timeout_seconds=None, lanes=1), LauncherSettings, where="launcher")
    assert settings.n_jobs == "auto"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"n_jobs": 0}, "hydra.launcher.n_jobs: must be a whole number >= 1, or 'auto'. Received: 0"),
        ({"timeout_seconds": 0}, "hydra.launcher.timeout_seconds: must be a finite number > 0, or null"),
        ({"n_job": 2}, "hydra.launcher: unknown key. Received: 'n_job'.*Did you mean 'n_jobs'?"),
    ],
)
def test_a_wrong_key_or_value(keys: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        read_settings(
            node(**{"n_jobs": 1, "timeout_seconds": None, "lanes": 1} | keys), LauncherSettings, where="hydra.launcher"
        )


def test_a_missing_key() -> None:
    with pytest.raises(ConfigError, match="hydra.sweeper.every_epochs: must be set. Received: population"):
        read_settings(node(population=3), PopulationSettings, where="hydra.sweeper")


@pytest.mark.parametrize(
    ("target", "kind", "expected"),
    [
        ("tfrun.sweep.launcher.ForkLauncher", ForkLauncher, True),
        ("tfrun.sweep.search.Search", Search, True),
        ("tfrun.sweep.search.Search", ForkLauncher, False),
        ("hydra_plugins.mine.Search", Search, False),
    ],
)
def test_a_target_is_compared_as_a_whole(target: str, kind: type, expected: bool) -> None:
    assert is_target(OmegaConf.create({"_target_": target}), kind) is expected
