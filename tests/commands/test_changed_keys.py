"""Which keys of a composed config differ from the defaults."""

from __future__ import annotations

from typing import Any

import pytest

from tfrun.commands.changed_keys import changed_keys
from tfrun.config.compose import open_configs
from tfrun.config.sources import Sources


def changed(*words: str, **resolved: Any) -> list[tuple[str, Any, Any]]:
    found = changed_or_none(*words, **resolved)
    assert found is not None
    return found


def changed_or_none(*words: str, **resolved: Any) -> list[tuple[str, Any, Any]] | None:
    with open_configs(words) as configs:
        config = configs.compose(words).config
    return changed_keys(config | resolved, Sources())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], []),
        (["seed=7"], [("seed", 42, 7)]),
        (["model=mlp"], [("model", "wide_deep", "mlp")]),  # whose own parameters are at their defaults
        (
            ["model=mlp", "model.hidden_units=[8]"],
            [("model", "wide_deep", "mlp"), ("model.hidden_units", [300, 100], [8])],
        ),
        (["optimizer.groups.deep.learning_rate=0.5"], [("optimizer.groups.deep.learning_rate", 0.001, 0.5)]),
        (["tags=[a]"], [("tags", [], ["a"])]),
    ],
)
def test_changed_keys(words: list[str], expected: list[tuple[str, Any, Any]]) -> None:
    assert changed(*words) == expected


def test_what_auto_has_become() -> None:
    loss, metric = {"name": "huber", "delta": 1.0}, {"mae": {"name": "mae"}, "rmse": {"name": "rmse"}}
    assert changed(loss=loss, metric=metric) == [("loss", "auto", "huber"), ("metric", "auto", "mae, rmse")]
    assert changed("loss=huber", "loss.delta=2.0", metric={})[:2] == [
        ("loss", "auto", "huber"),
        ("metric", "auto", "none"),
    ]


def test_a_section_that_is_set_replaces_null() -> None:
    words = ["data.window={length: 4, horizon: 2}"]
    keys = [key for key, _, _ in changed(*words)]
    assert "data.window" not in keys and "data.window.length" in keys


def test_addresses_are_masked() -> None:
    ((_, _, value),) = changed("name=a", name="postgresql://me:secret@host/db")
    assert value == "postgresql://***:***@host/db"


def test_without_defaults_there_are_no_changes() -> None:
    assert changed_or_none(plugins=["not_there_anywhere"]) is None
