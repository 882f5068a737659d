from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tfrun.config.plain import plain, read_yaml, texts, to_yaml


def test_plain_resolves_interpolations() -> None:
    assert plain(OmegaConf.create({"seed": 7, "name": "run_${seed}", 1: [2]})) == {"seed": 7, "name": "run_7", "1": [2]}
    with pytest.raises(ValueError, match="must be a mapping. Received:"):
        plain(OmegaConf.create([1]))


@pytest.mark.parametrize("text", ["1e-3", "1_000", "yes", "null", "größer", "a: b", "", "0x10", "1:20"])
def test_yaml_keeps_texts_that_look_like_something_else(text: str) -> None:
    content = {"key": text, "list": [text, 1, 0.001, None, True]}
    assert plain(OmegaConf.create(to_yaml(content))) == content


def test_a_file_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    for number, content in enumerate([b"a: [1", b"- 1", b"\xff", b""]):
        (tmp_path / f"{number}.yaml").write_bytes(content)
        assert read_yaml(tmp_path / f"{number}.yaml") == {}
    assert read_yaml(tmp_path / "nowhere.yaml") == {}
    (tmp_path / "whole.yaml").write_text("a: 1")
    assert read_yaml(tmp_path / "whole.yaml") == {"a": 1}


def test_texts() -> None:
    assert (texts("a"), texts(["a", 1]), texts(None), texts(3)) == (["a"], ["a", "1"], [], [])
