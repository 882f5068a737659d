"""The options of Hydra's plugin for Ray: whether it starts a Ray for this sweep or joins a cluster."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from tfrun.errors import ConfigError
from tfrun.sweep.ray_words import LAUNCHER, check_ray, words_for_ray

LOCAL = ["++hydra.launcher.ray.init.address=local"]
JOINED = ["+hydra.launcher.ray.init.object_store_memory=null"]


def launcher(target: str = LAUNCHER, **init: Any) -> DictConfig:
    return OmegaConf.create({"_target_": target, "ray": {"init": init}})


def test_the_plugin_is_known_by_its_class() -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    module, _, name = LAUNCHER.rpartition(".")
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize(
    ("variable", "init", "expected"),
    [
        (None, {}, LOCAL),
        (None, {"num_cpus": 2}, LOCAL),  # even if `ray start` has left an address, which Ray would find
        (None, {"address": "local", "num_cpus": 2}, LOCAL),
        (None, {"address": None}, LOCAL),
        ("", {}, LOCAL),
        (None, {"address": "10.0.0.1:6379"}, JOINED),
        (None, {"address": "auto"}, JOINED),
        ("10.0.0.1:6379", {}, JOINED),
        ("10.0.0.1:6379", {"address": "local"}, LOCAL),
        ("10.0.0.1:6379", {"object_store_memory": 80_000_000}, []),
    ],
)
def test_words(
    variable: str | None, init: dict[str, Any], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable is not None:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    assert words_for_ray(launcher(**init)) == expected
    check_ray(launcher(**init))


@pytest.mark.parametrize("variable", [None, "10.0.0.1:6379"])
def test_what_a_cluster_has_said_is_refused(variable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    init = {} if variable else {"address": "10.0.0.1:6379"}
    with pytest.raises(ConfigError, match=r"^hydra.launcher.ray.init.num_gpus: .* at .*10.0.0.1:6379, or start"):
        check_ray(launcher(num_gpus=2, **init))


def test_other_launchers_get_no_words() -> None:
    assert words_for_ray(launcher("tfrun.sweep.launcher.ForkLauncher")) == []
    assert words_for_ray(OmegaConf.create({"_target_": LAUNCHER})) == []
