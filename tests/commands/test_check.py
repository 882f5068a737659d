from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
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


def test_every_metric_that_the_words_choose(settings: Callable[..., Any]) -> None:
    for words, names in (
        (["metric=[mae,r2]"], ["mae", "r2"]),
        (["metric=regression"], ["mae", "rmse"]),
        (["+metric.far={name: rmse}"], ["rmse"]),
        (["metric.mae.name=mae", "metric=[mae,r2]"], ["mae", "r2"]),
    ):
        found = components_chosen(words, settings(*words))
        assert [(kind, component.name) for kind, component in found] == [("metric", name) for name in names]


def test_the_schedule_of_an_optimizer_is_checked(settings: Callable[..., Any]) -> None:
    words = ["optimizer=adam", "optimizer.schedule=cosine"]
    found = components_chosen(words, settings(*words))
    assert [(kind, component.name) for kind, component in found] == [("optimizer", "adam"), ("schedule", "cosine")]


def test_components_are_checked_in_the_precision_of_the_config(run: Callable[..., Result], engine: Any) -> None:
    assert run("check", "loss=mse", "trainer.precision=mixed_float16")[0] == 0
    assert engine.calls[0][3] == {"precision": "mixed_float16"}


def test_a_folder_that_can_not_be_written_is_found(run: Callable[..., Result], engine: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, error = run("check", "output_root=file/runs")
    assert (code, "output_root: " in error, "file can't be written" in error) == (5, True, True)
    assert run("check", "output_root=new/folder")[0] == 0
    assert not (tmp_path / "new").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


DATA_SET = """
from tfrun import register

@register.dataset("no_rows_of_a_check")
def no_rows() -> None: ...
"""


def test_a_plugins_data_set_that_is_none_is_a_finding(run: Callable[..., Result], engine: Any, tmp_path: Path) -> None:
    (tmp_path / "no_rows_plugin.py").write_text(DATA_SET)
    code, _, error = run("check", "plugins=[no_rows_plugin]", "data=no_rows_of_a_check")
    assert (code, "must return a tfrun.table.Table" in error) == (3, True)  # the real engine raises a ContractError, 2
    assert [call[0] for call in engine.calls] == ["check_data_set"]
