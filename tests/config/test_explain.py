from __future__ import annotations

from pathlib import Path

import pytest

from tfrun.config.compose import open_configs
from tfrun.config.explain import explain
from tfrun.config.sources import Sources
from tfrun.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [1\nx: 2\n", r"bad\.yaml:3: not valid YAML"),
        ("name: a\nname: b\n", r"bad\.yaml:3: not valid YAML: .*duplicate key name"),
        ("- a\n", "In 'experiment/bad': .*Cannot merge DictConfig with ListConfig$"),
        ("defaults:\n- override /optimzer: adam\n", "Could not override 'optimzer'.*Did you mean 'optimizer'"),
        ("name: \x07\n", r"bad\.yaml: not valid YAML: special characters are not allowed at character 27"),
        ("name: \xff\n", r"bad\.yaml: a YAML file must be in UTF-8. Received: the byte 0xff at offset 26"),
        ("defaults: 3\n", "Invalid defaults list"),
        ("defaults:\n- override /loss: mes\n", "loss: unknown option. Received: 'mes'.*Did you mean 'mse'"),
    ],
)
def test_mistakes_in_a_file_are_one_line(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("mine/experiment/bad.yaml")
    file.parent.mkdir(parents=True)
    file.write_text(f"# @package _global_\n{text}", encoding="latin-1")
    overrides, sources = ["experiment=bad"], Sources(config_dir="mine")
    with pytest.raises(ConfigError, match=message) as error, open_configs(overrides, sources) as configs:
        configs.compose(overrides)
    assert "\n" not in str(error.value)


def test_an_option_that_is_left_out_names_another() -> None:
    overrides = ["strategy=parameter_server"]
    message = r"strategy: parameter_server is left out\. Use strategy=multi_worker"
    with pytest.raises(ConfigError, match=message), open_configs(overrides) as configs:
        configs.compose(overrides)


def test_lines_about_hydras_objects_are_left_out() -> None:
    text = "Could not append to config. An item is already at 'loss.delta'.\n    full_key: loss\n    object_type=dict"
    assert str(explain(ValueError(text))) == "loss.delta: is there already, so it needs no +: loss.delta=<value>"
    assert str(explain(ValueError("one\n    full_key: loss\n  two   words"))) == "one two words"
    unused = "Could not override 'optimzer'. No match in the defaults list."
    assert str(explain(ValueError(unused), ["optimizer", "loss"])).endswith("list. Did you mean 'optimizer'?")
