from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tfrun.commands.check import components_alone, components_chosen, pop_parity_steps
from tfrun.commands.command_line import CommandLine
from tfrun.config.catalog import load_catalog
from tfrun.errors import ConfigError

Result = tuple[int, str, str]


@pytest.mark.parametrize(("word", "steps"), [("parity=true", 3), ("parity=false", 0), ("parity=7", 7), ("seed=1", 0)])
def test_steps_of_the_comparison(word: str, steps: int) -> None:
    found, rest = pop_parity_steps(CommandLine((word, "name=a")))
    assert found == steps
    assert rest.words == (("name=a",) if word.startswith("parity") else (word, "name=a"))


@pytest.mark.parametrize("value", ["-1", "yes", "", "1.5"])
def test_what_is_no_number_of_steps(value: str) -> None:
    with pytest.raises(ConfigError, match="parity: must be true, false or a number of steps. Received: "):
        pop_parity_steps(CommandLine((f"parity={value}",)))


def test_components_that_no_config_has_a_group_for() -> None:
    words = ["layer.rate=0.25", "layer=dropout", "activation=leaky_relu"]
    found = {kind: component.to_dict() for kind, component in components_alone(words, load_catalog())}
    assert found["layer"]["name"] == "dropout" and found["layer"]["rate"] == 0.25
    assert found["activation"]["name"] == "leaky_relu"
    with pytest.raises(ConfigError, match="layer.rat: unknown key"):
        components_alone(["layer=dropout", "layer.rat=1"], load_catalog())


def test_components_that_the_words_choose(settings: Callable[..., Any]) -> None:
    words = ["loss=mse", "metric=r2", "optimizer=sgd", "model=mlp", "seed=1"]
    found = components_chosen(words, settings(*words))
    assert [(kind, component.name) for kind, component in found] == [
        ("loss", "mse"), ("metric", "r2"), ("optimizer", "sgd"),
    ]  # fmt: skip
    assert components_chosen(["seed=1"], settings("seed=1")) == []


def test_only_components_are_checked_unless_a_word_is_about_a_config(run: Callable[..., Result], engine: Any) -> None:
    assert run("check", "layer=layer_normalization") == (0, "", "")
    assert run("check", "layer=layer_normalization", "data.batch_size=8", "parity=true")[0] == 0
    assert [call[0] for call in engine.calls] == ["check_contracts", "check_contracts", "check"]
    assert engine.calls[2][3] == {"parity_steps": 3, "groups": [], "formats": []}
    assert run("check", "model=mlp", "format=onnx")[0] == 0
    assert engine.calls[4][3] == {"parity_steps": 0, "groups": ["model"], "formats": ["onnx"]}
