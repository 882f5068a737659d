"""What `auto` becomes in a config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfrun.config import automatic
from tfrun.config.automatic import DataFacts
from tfrun.config.compose import open_configs
from tfrun.config.schema import build_settings
from tfrun.errors import ConfigError


def resolved(*words: str, classes: dict[str, int], steps_per_epoch: int = 11) -> dict[str, Any]:
    with open_configs(words) as configs:
        config = configs.compose(words).config
        settings = build_settings(config, configs.catalog, overrides=words)
        facts = DataFacts(classes, steps_per_epoch)
        return automatic.resolve(config, settings, configs.catalog, facts=facts)


@pytest.mark.parametrize(
    ("num_classes", "loss", "metrics"),
    [
        (0, "huber", ["mae", "rmse"]),
        (2, "binary_crossentropy", ["accuracy", "auc"]),
        (3, "sparse_categorical_crossentropy", ["accuracy"]),
    ],
)
def test_the_loss_and_the_metrics_follow_the_target(num_classes: int, loss: str, metrics: list[str]) -> None:
    config = resolved(classes={"output": num_classes})
    assert config["loss"]["name"] == loss
    assert len(config["loss"]) > 1  # its parameters too
    assert list(config["metric"]) == metrics


def test_targets_of_several_tasks_have_a_loss_each() -> None:
    config = resolved("model=multi_task", classes={"output": 0, "sold": 2, "kind": 5})
    assert config["loss"]["name"] == "per_output"
    assert config["loss"]["losses"] == {
        "output": "huber",
        "sold": "binary_crossentropy",
        "kind": "sparse_categorical_crossentropy",
    }
    assert resolved(classes={"output": 0, "more": 0})["loss"]["name"] == "huber"


def test_an_algorithm_with_targets_of_its_own_needs_no_metrics() -> None:
    config = resolved("algorithm=reconstruct", classes={"output": 10})
    assert (config["loss"]["name"], config["metric"]) == ("huber", {})
    words = ["algorithm=in_batch_softmax", "model=two_tower", "model.user=[a]"]
    assert resolved(*words, classes={"output": 0})["loss"]["name"] == "sparse_categorical_crossentropy"


def test_a_metric_of_two_classes_can_be_monitored_before_the_data_are_read(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("user,clicked\na,yes\n")
    data = ["data=csv", f"data.path={tmp_path / 'clicks.csv'}", "data.target=clicked"]
    words = ["checkpoint.monitor=val/auc", *data]
    assert list(resolved(*words, classes={"output": 2})["metric"]) == ["accuracy", "auc"]


@pytest.mark.parametrize(
    ("words", "steps_per_epoch", "epochs"),
    [
        ([], 11, 182),  # 2,002 steps
        ([], 100, 20),
        ([], 516, 20),
        (["trainer.max_steps=50"], 11, None),
        (["trainer.max_seconds=9"], 11, None),
        (["trainer.max_epochs=3"], 11, 3),
    ],
)
def test_a_run_has_20_epochs_or_2000_steps(words: list[str], steps_per_epoch: int, epochs: int | None) -> None:
    config = resolved(*words, classes={"output": 0}, steps_per_epoch=steps_per_epoch)
    assert config["trainer"]["max_epochs"] == epochs


def test_what_is_chosen_stays() -> None:
    config = resolved("loss=mse", "metric=[auto,r2]", "trainer.max_epochs=7", classes={"output": 0})
    assert config["loss"]["name"] == "mse"
    assert list(config["metric"]) == ["mae", "rmse", "r2"]


def test_metrics_of_either_task_can_be_monitored_until_the_data_are_read(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").touch()
    words = ["data=csv", f"data.path={tmp_path}/rows.csv", "data.target=y", "checkpoint.monitor=val/accuracy"]
    with open_configs(words) as configs:
        config = configs.compose(words).config
        settings = build_settings(config, configs.catalog)
        assert settings.checkpoint.mode == "max"
        facts = DataFacts({"output": 0}, 11)
        with pytest.raises(ConfigError, match="no such value. Received: 'val/accuracy'. Known: val/loss, val/mae"):
            build_settings(automatic.resolve(config, settings, configs.catalog, facts=facts), configs.catalog)


def test_a_copy_means_what_its_source_has_become() -> None:
    source = resolved(classes={"output": 3})
    with open_configs([]) as configs:
        copy = automatic.as_resolved(configs.compose([]).config, source)
    assert (copy["loss"], copy["metric"]) == (source["loss"], source["metric"])
    assert copy["trainer"]["max_epochs"] == 182
