"""Which boundaries of the number columns a model has read."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from tfrun.data.table import Features
from tfrun.engine.building.deciles import Deciles

NUMBERS = {"age": (-1.0, 1.0), "bmi": (0.5,)}


@pytest.mark.parametrize(
    "use",
    [len, list, bool, sorted, dict.keys, lambda numbers: "age" in numbers, lambda numbers: [*numbers]],
    ids=["len", "list", "bool", "sorted", "keys", "in", "star"],
)
def test_names_are_not_recorded(use: Callable[[Any], Any]) -> None:
    deciles = Deciles(NUMBERS)
    use(deciles)
    assert deciles.were_read == set()
    assert deciles.accepts({"age": (7.0,), "bmi": ()})


@pytest.mark.parametrize(
    "use",
    [
        dict, lambda numbers: {**numbers}, json.dumps, copy.copy, copy.deepcopy, repr, "{}".format,
        lambda numbers: pickle.loads(pickle.dumps(numbers)), lambda numbers: numbers | {}, lambda numbers: {} | numbers,
        lambda numbers: numbers == {}, lambda numbers: numbers != {}, lambda numbers: numbers.copy(),
        lambda numbers: list(numbers.items()), lambda numbers: list(numbers.values()),
        lambda numbers: numbers.pop("age"), lambda numbers: numbers.popitem(),
        lambda numbers: asdict(Features(numbers, {}, {})),
    ],
)  # fmt: skip
def test_whatever_has_all_boundaries_reads_all(use: Callable[[Any], Any]) -> None:
    deciles = Deciles(NUMBERS)
    use(deciles)
    assert deciles.were_read == {"age", "bmi"}
    assert deciles.accepts(NUMBERS)
    assert not deciles.accepts({**NUMBERS, "bmi": (0.25,)})


def test_a_column_may_be_read_alone() -> None:
    deciles = Deciles(NUMBERS)
    assert deciles["age"] == deciles.get("age") == (-1.0, 1.0) and deciles.get("height") is None
    assert deciles.were_read == {"age"}
    assert deciles.accepts({"age": (-1.0, 1.0), "bmi": (0.25,)})
    assert not deciles.accepts({"age": (-1.0, 1.5), "bmi": (0.5,)})
    with pytest.raises(KeyError):
        deciles["height"]


def test_what_a_model_saves_is_not_what_its_program_is_made_of() -> None:
    deciles = Deciles(NUMBERS)
    features = Features(deciles, {"sex": 3}, {}, {"note": (9, 4)})
    config = {"numbers": NUMBERS, "categories": {"sex": 3}, "arrays": {}, "tokens": {"note": (9, 4)}, "window": ()}
    assert features.to_config() == config
    assert type(features.to_config()["numbers"]) is dict and deciles.were_read == set()
