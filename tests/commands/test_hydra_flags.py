from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
import yaml

Result = tuple[int, str, str]


def test_cfg_prints_yaml(run: Callable[..., Result]) -> None:
    code, out, _ = run("loss=huber", "loss.delta=2", "--cfg", "job", "name=a_${seed}")
    assert code == 0
    config = yaml.safe_load(out)
    assert config["loss"] == {"name": "huber", "delta": 2}
    assert config["name"] == "a_${seed}"
    assert "hydra" not in config
    assert "name: a_42\n" in run("--cfg", "job", "--resolve", "name=a_${seed}")[1]
    assert yaml.safe_load(run("--cfg", "hydra")[1])["hydra"]["job"]["name"] == "tfrun"


def test_cfg_shows_what_is_missing(run: Callable[..., Result]) -> None:
    code, out, _ = run("--cfg", "job", "data=csv")
    assert code == 0
    assert yaml.safe_load(out)["data"]["path"] == "???"


def test_hydra_help(tfrun: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    # in a process of its own: Hydra sets logging up anew and closes the handlers that other tests' libraries made
    done = tfrun("--hydra-help")
    assert done.returncode == 0
    assert "--multirun" in done.stdout


def test_completion_knows_components(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "tfrun loss=hu")
    assert run("-sc", "query=bash")[1].strip() == "loss=huber"
