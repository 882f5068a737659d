from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfrun.config.compose import open_configs
from tfrun.config.sources import Sources
from tfrun.errors import ConfigError


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def compose(*overrides: str, **sources: str) -> dict[str, Any]:
    with open_configs(overrides, Sources(**sources)) as configs:
        return configs.compose(overrides).config


def write(path: str, text: str) -> None:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="latin-1")


def test_defaults() -> None:
    config = compose()
    assert config["loss"] == {"name": "auto"}
    assert config["metric"] == {"auto": {"name": "auto"}}
    assert config["trainer"]["max_epochs"] == "auto"
    assert config["early_stopping"] is None
    assert config["data"]["name"] == "diabetes"
    assert config["optimizer"]["groups"]["wide"] == {
        "match": "^wide/",
        "name": "ftrl",
        "learning_rate": 0.05,
        "schedule": None,
        "clip_norm": None,
        "every": 1,
        "from_epoch": 0,
        "until_epoch": None,
        "frozen": False,
        "optional": True,
        "rows": "auto",
        "statistics": "auto",
        "layer_decay": None,
    }


def test_optimizer_follows_the_model() -> None:
    assert list(compose("model=mlp")["optimizer"]["groups"]) == ["all"]
    single = compose("model=wide_deep", "optimizer=sgd", "optimizer.learning_rate=3e-4")["optimizer"]
    assert single["name"] == "sgd"
    assert single["learning_rate"] == 3e-4
    assert single["groups"] is None


def test_key_of_a_null_group_chooses_its_default() -> None:
    stopping = compose("early_stopping.patience=5")["early_stopping"]
    assert stopping == {"monitor": "val/loss", "mode": None, "patience": 5, "min_delta": 0.0}


@pytest.mark.parametrize("group", ["logger", "early_stopping"])
def test_null_turns_a_group_off(group: str) -> None:
    assert compose(f"{group}=null")[group] is None


def test_lists_of_options_and_plus_before_a_group() -> None:
    assert list(compose("metric=[mae,r2]")["metric"]) == ["mae", "r2"]
    assert compose("+experiment=wide_deep_huber")["loss"]["delta"] == 0.5


def test_debug_wins_over_an_experiment_and_an_override_over_both() -> None:
    assert compose("experiment=wide_deep_huber", "debug=fast")["trainer"]["max_epochs"] == 1
    assert compose("experiment=wide_deep_huber", "debug=fast", "trainer.max_epochs=3")["trainer"]["max_epochs"] == 3


def test_config_dir_wins_over_the_registered_component_and_the_shipped_file() -> None:
    write("mine/loss/huber.yaml", "name: huber\ndelta: 7.0\n")
    write("mine/trainer/default.yaml", "max_epochs: 99\n")
    config = compose("loss=huber", config_dir="mine")
    assert config["loss"]["delta"] == 7.0
    assert config["trainer"] == {"max_epochs": 99}


def test_own_model_file_gets_its_models_groups() -> None:
    write("mine/model/small.yaml", "name: wide_deep\nhidden_units: [4]\n")
    assert list(compose("model=small", config_dir="mine")["optimizer"]["groups"]) == ["wide", "embeddings", "deep"]
    searched = compose("model=small", f"hydra.searchpath=[file://{Path.cwd()}/mine]")
    assert list(searched["optimizer"]["groups"]) == ["wide", "embeddings", "deep"]


def test_interpolations_are_resolved() -> None:
    assert compose("name=run_${seed}", "seed=7")["name"] == "run_7"
    assert compose("name=${hydra:job.name}")["name"] == "tfrun"


def test_record_has_the_overrides_as_they_were_typed() -> None:
    overrides = ["seed=1", "logger=null", "hydra.verbose=true"]
    with open_configs(overrides) as configs:
        cfg = configs.compose(overrides).cfg
    assert list(cfg.hydra.overrides.task) == ["seed=1", "logger=null"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loss=hubber"], "loss: unknown option. Received: 'hubber'. Known: .*Did you mean 'huber'"),
        (["metric=[mae,rsme]"], "metric: unknown option. Received: 'rsme'.*Did you mean 'rmse'"),
        (["loss=3"], "loss: unknown option. Received: '3'"),
        (["loss=huber,mse"], "loss: several values are a sweep and need -m"),
        (["loss=huber", "+loss.delta=2"], r"^loss\.delta: is there already, so it needs no \+"),
        (["~seeed"], "'seeed' does not exist"),
        (["name=${no.such}"], "^name: Interpolation key 'no.such' not found"),
        (["x={"], r"^'x=\{': not an override at character 4"),
        (["=3"], "^'=3': not an override: no key"),
        (["loss"], "^'loss': not an override: expected key=value"),
        (["hydra.run.dir=x"], r"^hydra\.run\.dir: tfrun names and claims run folders"),
        (["hydra.nothing=1"], r"^hydra: unknown key. Received: 'nothing'. Known: callbacks, "),
    ],
)
def test_mistakes(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        compose(*overrides)
    assert "\n" not in str(error.value)


def test_group_of_ones_own_is_added_with_a_plus() -> None:
    write("mine/local/here.yaml", "# @package _global_\nseed: 5\n")
    assert compose("+local=here", config_dir="mine")["seed"] == 5


def test_change_replaces_an_option_and_keeps_what_belongs_to_no_data_set() -> None:
    config = compose("data.batch_size=8")
    with open_configs([]) as configs:
        changed = configs.change(config, ["data=csv", "data.path=x.csv", "early_stopping.patience=2", "logger=null"])
        with pytest.raises(ConfigError, match="Did you mean 'csv'"):
            configs.change(config, ["data=cvs"])
    assert changed["data"]["batch_size"] == 8
    assert (changed["data"]["name"], changed["data"]["path"]) == ("csv", "x.csv")
    assert changed["early_stopping"]["patience"] == 2
    assert changed["logger"] is None
    assert config["data"]["name"] == "diabetes"


def test_two_catalogs_are_open_at_once_and_stay_apart() -> None:
    write("own.py", "from tfrun import register\n@register.loss('own')\ndef own(y_true, y_pred):\n  'Mine.'\n")
    with open_configs(["plugins=own"]) as with_plugin:
        with open_configs([]) as without:
            assert "own" not in without.options("loss")
        assert "own" in with_plugin.options("loss")
