from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.config.catalog import Catalog, read_module
from tfrun.config.directions import higher_is_better, modes_against
from tfrun.config.plugins import Module
from tfrun.config.schema import build_settings
from tfrun.errors import ConfigError, DataError

COMPONENTS = """
@register.dataset("table")
def table(path: str, task: Literal["regression", "classification"] | None = None): ...
@register.dataset("cells")
def cells(path: str, separator: str = ","): ...
@register.model("net")
def net(
    units: list[int] = [3],
    activation: Activation = "relu",
    penalty: Regularizer | None = None,
    layers: list[Layer] = [],
    losses: Annotated[dict[str, Loss], MinLen(1)] | None = None,
): ...
@register.activation("slope")
def slope(x, by: Annotated[float, Gt(0)] = 2.0): ...
@register.layer("wide")
class Wide:
    def __init__(self, units: int): ...
@register.loss("huber")
class Huber:
    task = "regression"
    def __init__(self, delta: Annotated[float, Gt(0)] = 1.0): ...
@register.metric("mae", higher_is_better=False)
def mae(y_true, y_pred): ...
@register.metric("silent")
def silent(y_true, y_pred): ...
@register.metric("r2")
class R2:
    higher_is_better = True
@register.metric("gain", higher_is_better=True)
def gain(y_true, y_pred): ...
@register.algorithm("supervised")
class Supervised: ...
@register.algorithm("duel", is_adversarial=True)
class Duel: ...
@register.optimizer("adam")
def adam(learning_rate: Annotated[float, Gt(0)] = 0.001, beta_1: Annotated[float, Ge(0), Lt(1)] = 0.9): ...
@register.optimizer("sgd")
def sgd(learning_rate: Annotated[float, Gt(0)] = 0.01): ...
@register.schedule("plateau")
class Plateau:
    def __init__(self, monitor: str = "val/loss", mode: Literal["min", "max"] | None = None): ...
@register.schedule("cosine")
def cosine(step, total_steps, final: float = 0.0): ...
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    file = tmp_path / "parts.py"
    file.write_text(COMPONENTS)
    return Catalog(read_module(Module("parts", file)))


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "rows.csv").touch()
    return {
        "name": "default",
        "seed": 42,
        "tags": [],
        "plugins": [],
        "output_root": ".",
        "data": {
            "name": "table",
            "path": str(tmp_path / "rows.csv"),
            "batch_size": 32,
            "validation_split": 0.1,
            "test_split": 0.1,
            "split": {"by": "auto", "column": None},
            "validation_path": None,
            "test_path": None,
            "class_weight": None,
            "folds": None,
            "fold": None,
            "folds_repeats": 1,
            "split_seed": 0,
            "target_scaling": "standard",
            "residency": "auto",
            "limit_rows": None,
            "sample_weight": None,
            "missing_target": "error",
            "keep_samples": True,
            "cache": "auto",
            "window": None,
            "text": {},
            "kinds": {},
            "augment": [],
        },
        "model": {"name": "net"},
        "loss": {"name": "huber", "delta": 2},
        "metric": {"mae": {"name": "mae"}},
        "algorithm": {"name": "supervised"},
        "optimizer": {"groups": {"all": {"match": ".*", "name": "adam"}}},
        "trainer": {
            "max_epochs": 20,
            "max_steps": None,
            "max_seconds": None,
            "compile": "auto",
            "microbatches": 1,
            "threads": "auto",
            "ema_decay": None,
            "on_divergence": "stop",
            "precision": "float32",
            "deterministic": True,
            "profile": None,
        },
        "strategy": {"name": "auto"},
        "checkpoint": {
            "every_epochs": None,
            "every_steps": None,
            "every_seconds": 60,
            "keep": 2,
            "monitor": "val/loss",
            "mode": "min",
        },
        "logger": None,
        "early_stopping": None,
    }


def put(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Returns a copy of the config with one dotted key set."""
    result = copy.deepcopy(config)
    *sections, key = path.split(".")
    inner = result
    for section in sections:
        inner = inner.setdefault(section, {})
    inner[key] = value
    return result


def test_fills_in_defaults_and_converts_numbers(config: dict[str, Any], catalog: Catalog) -> None:
    result = build_settings(config, catalog).to_dict()
    assert result["loss"] == {"name": "huber", "delta": 2.0}
    assert type(result["loss"]["delta"]) is float
    assert result["model"] == {
        "name": "net", "units": [3], "activation": "relu", "penalty": None, "layers": [], "losses": None,
        "lora": None,
    }  # fmt: skip
    assert result["data"]["task"] is None
    assert result["checkpoint"]["every_seconds"] == 60.0
    assert build_settings(put(config, "plugins", "mine"), catalog).plugins == ["mine"]


def test_optimizer_groups_are_expanded(config: dict[str, Any], catalog: Catalog) -> None:
    assert build_settings(config, catalog).to_dict()["optimizer"] == {
        "groups": {
            "all": {
                "match": ".*",
                "name": "adam",
                "learning_rate": 0.001,
                "schedule": None,
                "clip_norm": None,
                "every": 1,
                "from_epoch": 0,
                "until_epoch": None,
                "frozen": False,
                "optional": False,
                "params": {"beta_1": 0.9},
                "rows": "auto",
                "statistics": "auto",
                "layer_decay": None,
            }
        }
    }


def test_single_optimizer_becomes_one_group(config: dict[str, Any], catalog: Catalog) -> None:
    config["optimizer"] = {"name": "adam", "learning_rate": 1, "beta_1": 0.5, "schedule": "cosine", "groups": None}
    group = build_settings(config, catalog).to_dict()["optimizer"]["groups"]["all"]
    assert group["match"] == ".*"
    assert group["learning_rate"] == 1.0
    assert group["schedule"] == {"name": "cosine", "final": 0.0}
    assert group["params"] == {"beta_1": 0.5}


def test_top_level_values_go_to_every_group(config: dict[str, Any], catalog: Catalog) -> None:
    groups = {
        "a": {"match": "^a/", "name": "adam", "learning_rate": 0.1, "clip_norm": 9.0, "every": 2},
        "b": {"match": "^b/", "name": "sgd"},
        "c": {"match": "^c/", "frozen": True},
    }
    shared = {"learning_rate": 0.5, "schedule": {"name": "cosine", "final": 1}, "clip_norm": 3}
    config["optimizer"] = {**shared, "groups": groups}
    result = build_settings(config, catalog).to_dict()["optimizer"]["groups"]
    assert [result[name]["clip_norm"] for name in "abc"] == [3.0, 3.0, 3.0]
    assert [result[name]["learning_rate"] for name in "ab"] == [0.5, 0.5]
    assert result["b"]["schedule"] == {"name": "cosine", "final": 1.0}
    assert result["a"]["every"] == 2
    assert (result["c"]["frozen"], result["c"]["name"], result["c"]["params"]) == (True, None, {})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("experiment", {}, "the first line of its YAML file must be '# @package _global_'"),
        ("optimzer", 1, r"^optimzer: unknown key\. .*Did you mean 'optimizer'"),
        ("loss.dleta", 1, r"^loss\.dleta: unknown key\. Known: loss\.delta, loss\.name\. Did you mean 'loss\.delta'"),
        ("data.separator", ";", r"Known: .*\. data=table has no such key\. It is one of data=cells$"),
        ("max_epochs", 1, "Did you mean 'trainer.max_epochs'"),
        ("trainer.epochs", 1, "Did you mean 'trainer.max_epochs'"),
        ("metric.mae.axs", 1, r"^metric\.mae\.axs: unknown key"),
        ("metric.rmse", 1, r"^metric\.rmse: a metric is a mapping with a name.*Received: 1\. Known: mae\."),
        ("metric.mea", 1, r"Known: mae\. Did you mean 'mae'\?$"),
        ("metric.loss", {"name": "mae"}, "taken by the loss"),
        ("optimizer.groups.all.beta_2", 1, "Did you mean 'optimizer.groups.all.beta_1'"),
        ("optimizer.groups.al", {"every": 2}, "a group needs match.*Did you mean 'all'"),
        ("optimizer.groups.all.name", "adm", r"^optimizer\.groups\.all\.name: unknown optimizer.*Did you mean 'adam'"),
        (
            "optimizer.groups.all",
            {"match": ".", "name": "sgd", "beta_1": 0.5},
            r"sgd has no such key\. It is one of adam; ~optimizer\.groups\.all\.beta_1 leaves it out$",
        ),
        ("optimizer.groups.all.match", "[", "not a regular expression: unterminated character set"),
        ("optimizer.groups.all.every", 0, "a whole number >= 1"),
        ("optimizer.groups.all.schedule", "cosin", "unknown schedule.*Did you mean 'cosine'"),
        ("optimizer.groups.all.clip_norm", 0, "> 0"),
        ("optimizer.name", "adam", "either one for everything or groups"),
        ("optimizer.groups", None, "needs a name or groups"),
        ("loss.name", "hubber", "Did you mean 'huber'"),
        ("loss.delta", -1, r"^loss\.delta: must be a finite number > 0\. Received: -1"),
        ("loss", None, "^loss: must be a mapping"),
        (
            "trainer.max_epochs",
            0,
            r"^trainer\.max_epochs: must be a whole number >= 1, or 'auto', or null\. Received: 0",
        ),
        ("trainer.max_epochs", None, "one of max_epochs, max_steps and max_seconds"),
        ("data.validation_split", 0.9, "must be < 1"),
        ("checkpoint.monitor", "val/mea", r"Known: val/loss, val/mae, train/loss, train/mae\. Did you mean 'val/mae'"),
        ("checkpoint.mode", "smallest", r"^checkpoint\.mode: must be one of 'min', 'max', or null\. Received"),
        ("name", "../up", r"^name: .*Received: '\.\./up'"),
        ("name", "a" * 101, "^name: "),
        ("seed", -1, "^seed: "),
        ("strategy.devices", [], r"^strategy\.devices: unknown key"),
        ("strategy.workers", 2, r"^strategy\.workers: unknown key"),
        ("data.task", "classification", "^loss: huber is for regression.* data=table .*classification"),
        ("model.units", "???", r"^model\.units: must be given"),
    ],
)
def test_mistakes(config: dict[str, Any], catalog: Catalog, path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_settings(put(config, path, value), catalog)


def test_early_stopping_on_validation_needs_validation_rows(config: dict[str, Any], catalog: Catalog) -> None:
    config["early_stopping"] = {"monitor": "val/mae", "mode": "min", "patience": 3, "min_delta": 0}
    assert build_settings(config, catalog).to_dict()["early_stopping"]["min_delta"] == 0.0
    with pytest.raises(ConfigError, match=r"val/mae needs validation rows"):
        build_settings(put(config, "data.validation_split", 0), catalog)


@pytest.mark.parametrize(
    ("monitor", "given", "mode"),
    [
        ("val/loss", None, "min"),
        ("val/mae", None, "min"),
        ("val/fit", None, "max"),
        ("train/profit", None, "max"),
        ("val/fit", "min", "min"),  # a given mode wins
        ("val/loss", "max", "max"),
    ],
)
def test_a_mode_that_is_not_given_is_that_of_the_metric(
    config: dict[str, Any], catalog: Catalog, monitor: str, given: str | None, mode: str
) -> None:
    config["metric"] |= {"fit": {"name": "r2"}, "profit": {"name": "gain"}}
    config["checkpoint"] |= {"monitor": monitor, "mode": given}
    config["early_stopping"] = {"monitor": monitor, "mode": given, "patience": 3, "min_delta": 0}
    config["optimizer"]["groups"]["all"]["schedule"] = {"name": "plateau", "monitor": monitor, "mode": given}
    settings = build_settings(config, catalog)
    assert settings.early_stopping is not None and settings.groups["all"].schedule is not None
    assert settings.checkpoint.mode == settings.early_stopping.mode == mode
    assert settings.groups["all"].schedule.params == {"monitor": monitor, "mode": mode}
    assert settings.to_dict()["checkpoint"]["mode"] == mode


@pytest.mark.parametrize("section", ["checkpoint", "early_stopping", "optimizer.groups.all.schedule"])
def test_a_metric_that_says_nothing_needs_a_mode(config: dict[str, Any], catalog: Catalog, section: str) -> None:
    config["metric"] |= {"fit": {"name": "silent"}}
    config["early_stopping"] = {"monitor": "val/mae", "mode": None, "patience": 3, "min_delta": 0}
    config["optimizer"]["groups"]["all"]["schedule"] = {"name": "plateau", "monitor": "val/mae", "mode": None}
    silent = put(put(config, "checkpoint.mode", None), f"{section}.monitor", "val/fit")
    message = (
        rf"^{section}\.mode: must be min or max, because metric=silent doesn't say .* Received: null.*parts.py:\d+"
    )
    with pytest.raises(ConfigError, match=message):
        build_settings(silent, catalog)
    settings = build_settings(put(silent, f"{section}.mode", "max"), catalog)
    assert modes_against(settings, catalog) == []
    assert higher_is_better(settings.metric, catalog) == {"loss": False, "mae": False, "fit": None}


def test_modes_against_their_metrics_give_one_warning(config: dict[str, Any], catalog: Catalog) -> None:
    config["metric"] |= {"fit": {"name": "r2"}}
    config["checkpoint"] |= {"monitor": "val/fit", "mode": "min"}
    config["early_stopping"] = {"monitor": "val/loss", "mode": "max", "patience": 3, "min_delta": 0}
    config["optimizer"]["groups"]["all"]["schedule"] = {"name": "plateau", "monitor": "val/mae", "mode": "min"}
    assert modes_against(build_settings(config, catalog), catalog) == [
        "checkpoint.mode=min, but a greater val/fit is better; "
        "early_stopping.mode=max, but a smaller val/loss is better"
    ]
    config["algorithm"] = {"name": "duel"}  # of its loss no direction is better
    assert modes_against(build_settings(config, catalog), catalog) == [
        "checkpoint.mode=min, but a greater val/fit is better"
    ]


@pytest.mark.parametrize(
    "section, word", [("logger", "logger.graph=false"), ("early_stopping", "early_stopping.patience=3")]
)
def test_a_section_that_is_null_has_no_keys(settings: Callable[..., Any], section: str, word: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{section}: null has no keys. Received: {section}=null {word}$"):
        settings(f"{section}=null", word)
    assert getattr(settings(f"{section}=null"), section) is None


def test_missing_section_and_key(config: dict[str, Any], catalog: Catalog) -> None:
    del config["trainer"]["compile"]
    with pytest.raises(ConfigError, match=r"^trainer\.compile: must be given"):
        build_settings(config, catalog)
    del config["trainer"]
    with pytest.raises(ConfigError, match=r"^trainer: must be given"):
        build_settings(config, catalog)


def test_missing_data_file_is_a_data_error_with_the_near_miss(config: dict[str, Any], catalog: Catalog) -> None:
    with pytest.raises(DataError, match=r"^data\.path: no such file.*Did you mean '.*rows\.csv'"):
        build_settings(put(config, "data.path", config["data"]["path"].replace("rows", "row")), catalog)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.learning_rate=1", "optimizer.groups.all.learning_rate=2"], "can't be given together"),
        (["model.name=mlp"], "choose it with model=mlp"),
    ],
)
def test_overrides_that_contradict(
    config: dict[str, Any], catalog: Catalog, overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_settings(config, catalog, overrides=overrides)


@pytest.mark.parametrize(
    ("rate", "is_held"),
    [
        (float(np.finfo(np.float32).max), True),
        (3.41e38, False),
        (float(np.finfo(np.float32).tiny), True),
        (1.17e-38, False),  # XLA takes it for 0
    ],
)
def test_a_learning_rate_is_one_that_float32_holds(
    config: dict[str, Any], catalog: Catalog, rate: float, is_held: bool
) -> None:
    config["optimizer"] = {"name": "sgd", "learning_rate": rate}
    if is_held:
        assert build_settings(config, catalog).groups["all"].learning_rate == rate
        return
    with pytest.raises(ConfigError, match=r"^optimizer\.learning_rate: must be from 1\.2e-38 to 3\.4e\+38"):
        build_settings(config, catalog)


def test_parameters_that_name_a_component(config: dict[str, Any], catalog: Catalog) -> None:
    config["model"] |= {
        "activation": "slope",
        "penalty": {"name": "l2", "l2": 0.1},
        "layers": [{"name": "wide", "units": 3}, "BatchNormalization"],
        "losses": {"a": "huber", "b": {"name": "huber", "delta": 3}},
    }
    assert build_settings(config, catalog).to_dict()["model"] == {
        "name": "net",
        "units": [3],
        "activation": {"name": "slope", "by": 2.0},
        "penalty": {"name": "l2", "l2": 0.1},
        "layers": [{"name": "wide", "units": 3}, "BatchNormalization"],
        "losses": {"a": {"name": "huber", "delta": 1.0}, "b": {"name": "huber", "delta": 3.0}},
        "lora": None,
    }


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("activation", "slop", r"^model\.activation: unknown activation.*'slop'.*Did you mean 'slope'"),
        ("activation", "tanhh", r"Did you mean 'tanh'"),
        ("activation", 3, r"^model\.activation: must be the name of a registered activation or a mapping"),
        (
            "activation",
            {"name": "slope", "bye": 1},
            r"^model\.activation\.bye: unknown key.*Did you mean 'model\.activation\.by'",
        ),
        ("activation", {"name": "slope", "by": 0}, r"^model\.activation\.by: must be a finite number > 0"),
        ("activation", {"name": "relu", "max": 6}, r"^model\.activation: Keras' relu takes no parameters"),
        ("activation", {"by": 2}, r"^model\.activation: unknown activation. Received: 'None'"),
        ("penalty", "l3", r"^model\.penalty: unknown regularizer\. Received: 'l3'\. Known: l1, l1l2, l2"),
        ("layers", [{"name": "wide"}], r"^model\.layers\.0\.units: must be given"),
        ("layers", ["wide ", "BatchNormalisation"], r"^model\.layers\.0: unknown layer.*Did you mean 'wide'"),
        ("losses", {}, r"^model\.losses: must be"),
        ("losses", {"a": "hubber"}, r"^model\.losses\.a: unknown loss.*Did you mean 'huber'"),
    ],
)
def test_mistakes_in_what_names_a_component(
    config: dict[str, Any], catalog: Catalog, key: str, value: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_settings(put(config, f"model.{key}", value), catalog)


def test_a_group_that_is_null_is_dropped(config: dict[str, Any], catalog: Catalog) -> None:
    groups = config["optimizer"]["groups"]
    groups |= {"all": None, "own": {"match": "x", "name": "sgd", "from_epoch": 2, "until_epoch": 5}}
    result = build_settings(config, catalog).to_dict()["optimizer"]["groups"]
    assert list(result) == ["own"]
    assert (result["own"]["from_epoch"], result["own"]["until_epoch"]) == (2, 5)
    with pytest.raises(ConfigError, match=r"groups\.own\.until_epoch: must be > from_epoch, 2\. Received: 2"):
        build_settings(put(config, "optimizer.groups.own.until_epoch", 2), catalog)
