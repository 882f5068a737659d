from __future__ import annotations

import copy
import functools
from typing import Any

import pytest

from tfrun.config.compose import open_configs
from tfrun.config.defaults import fill_in
from tfrun.config.earlier_runs import BEFORE_THE_KEY, header_of, words_of_earlier
from tfrun.config.settings import STRATEGY_KEYS, config_keys


@functools.cache
def composed_with(strategy: str) -> dict[str, Any]:
    words = ["early_stopping=default", f"strategy={strategy}"]
    with open_configs(words) as configs:
        return configs.compose(words).config


@pytest.mark.parametrize("key", config_keys())
def test_a_missing_key_has_the_default_of_conf(key: str) -> None:
    """Every key, so that one that comes later is found in `conf/` too, with nothing written for it."""
    strategies = (name for name, keys in STRATEGY_KEYS.items() if key in [f"strategy.{each}" for each in keys])
    composed = composed_with(next(strategies, "mirrored"))
    older = copy.deepcopy(composed)
    section, _, name = key.rpartition(".")
    del (older[section] if section else older)[name]
    expected = copy.deepcopy(composed)
    if name in BEFORE_THE_KEY.get(section, {}):
        expected[section][name] = BEFORE_THE_KEY[section][name]
    if key == "strategy.name":
        expected["strategy"]["name"] = "auto"
    assert fill_in(older) == expected


def test_a_missing_section_has_its_defaults_and_an_optional_one_stays_out() -> None:
    with open_configs([]) as configs:
        composed = configs.compose([]).config
    older = {key: value for key, value in composed.items() if key not in ("trainer", "strategy", "logger")}
    assert fill_in(older) == {key: value for key, value in composed.items() if key != "logger"}
    assert fill_in({"logger": {"name": "other"}, "early_stopping": None})["logger"] == {"name": "other"}


def test_a_sweep_of_an_earlier_version_is_resumed_with_what_its_config_meant() -> None:
    assert words_of_earlier({"data": {"split_seed": 1}}, {}) == ["data.split.by=random", "data.split.column=null"]
    assert words_of_earlier({"data": {"split": {"by": "auto", "column": None}}}, {}) == []
    assert words_of_earlier({}, {}) == []  # a file that can't be read
    assert words_of_earlier({"trainer": {"threads": None, "max_epochs": 20}}, {}) == [  # null was the default
        "trainer.threads=null",
        "trainer.max_epochs=20",
    ]
    assert words_of_earlier({"trainer": {"threads": None, "max_epochs": "auto"}}, {}) == ["trainer.threads=null"]
    assert words_of_earlier({"trainer": {"threads": "auto"}}, {}) == []


def test_what_a_sweep_of_an_earlier_version_meant_is_written_when_it_is_extended() -> None:
    words = ["trainer.threads=null"]
    assert header_of(None, []) == {"tables": "own group"}
    assert header_of({"swept": []}, words) == {"earlier_words": words}  # without tables, as before
    assert header_of({"tables": "own group"}, []) == {"tables": "own group"}
    # by then its multirun.yaml is that of the newest command
    assert words_of_earlier({"trainer": {"threads": "auto"}}, header_of({}, words)) == words
