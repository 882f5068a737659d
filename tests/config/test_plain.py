from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tfrun.config.plain import plain, read_yaml, texts, to_yaml
from tfrun.errors import ConfigError


@pytest.mark.parametrize(
    ("pattern", "where"),
    [("${{a{0}}}${{a{0}}}", "a16"), ({"b": "${{a{0}}}", "c": "${{a{0}}}"}, "a17.b"), (["${{a{0}}}"] * 2, "a16")],
)
def test_interpolations_that_stand_for_too_much(pattern: Any, where: str) -> None:
    def filled(pattern: Any, k: int) -> Any:
        if isinstance(pattern, str):
            return pattern.format(k)
        if isinstance(pattern, list):
            return [filled(item, k) for item in pattern]
        return {key: filled(item, k) for key, item in pattern.items()}

    config = {"a0": "x", **{f"a{k}": filled(pattern, k - 1) for k in range(1, 31)}}
    with pytest.raises(ConfigError, match=f"{where}: its interpolations stand for more than 100,000 values"):
        plain(OmegaConf.create(config))


def test_interpolations_in_ordinary_use() -> None:
    assert plain(OmegaConf.create({"a": "${b}", "b": {"c": "${d}"}, "d": 1})) == {"a": {"c": 1}, "b": {"c": 1}, "d": 1}


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
