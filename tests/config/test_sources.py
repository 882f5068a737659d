from __future__ import annotations

from pathlib import Path

import pytest

from tfrun.config.compose import open_configs
from tfrun.config.sources import Sources, plugin_names, shipped_configs
from tfrun.errors import ConfigError


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"config_dir": "mien"}, "--config-dir: no such folder. Received: 'mien'. Did you mean 'mine'"),
        ({"config_name": "confg"}, "--config-name: unknown config. Received: 'confg'.*Did you mean 'config'"),
        ({"config_path": "nowhere"}, "--config-path: no such folder"),
    ],
)
def test_missing_sources(sources: dict[str, str], message: str) -> None:
    Path("mine").mkdir()
    with pytest.raises(ConfigError, match=message), open_configs([], Sources(**sources)) as configs:
        configs.compose([])


def test_folders_are_searched_in_order() -> None:
    here = Path.cwd()
    assert Sources(config_dir="mine", config_path="primary").folders() == [
        here / "mine",
        here / "primary",
        shipped_configs(),
    ]
    assert Sources().folders() == [shipped_configs()]
    assert (shipped_configs() / "config.yaml").is_file()


def test_plugins_are_known_before_composing() -> None:
    Path("mine/experiment").mkdir(parents=True)
    Path("mine/experiment/own.yaml").write_text("# @package _global_\nplugins: [a, b]\n")
    sources = Sources(config_dir="mine")
    assert plugin_names([], sources) == []
    assert plugin_names(["plugins=one"], sources) == ["one"]
    assert plugin_names(["+plugins=[one,two]", "experiment=own"], sources) == ["one", "two"]
    assert plugin_names(["experiment=own"], sources) == ["a", "b"]


def test_places_for_a_process_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sources = Sources("mine", "a", "pkg://b").absolute()
    assert sources == Sources("mine", str(tmp_path / "a"), "pkg://b") == sources.absolute()
    assert Sources().absolute() == Sources()
