"""The key that makes a variable smaller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from tfrun.config.settings import Settings
from tfrun.data.kinds.category import CategoryColumn
from tfrun.data.kinds.hashed import HashedColumn
from tfrun.data.kinds.tokens import TokensColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget
from tfrun.engine.building.size_keys import key_of

COLUMNS = (
    CategoryColumn("town", tuple(map(str, range(49)))),  # 50 ids, with that of unseen ones
    HashedColumn("user", 1000),  # 1001, with that of empty cells
    TokensColumn("text", ("a",) * 198, 7),  # 200, with padding and unseen ones
    TokensColumn("tags", (), 7, 5000),
)
FITTED = Preprocessing(columns=cast(Any, COLUMNS), targets={"output": FittedTarget("regression")})


@pytest.mark.parametrize(
    ("shape", "key"),
    [
        ((50, 8), "data.kinds.town.max_ids"),
        ((1001, 8), "data.text.user.bins"),
        ((1051, 8), "data.text.user.bins"),  # towns and users in one table
        ((200, 8), "data.kinds.text.max_ids"),
        ((5001, 8), "data.kinds.tags.bins"),
        ((20_000, 3), None),  # most rows are of no column
        ((20_000, 700), "model.hidden_units"),
        ((700, 30), "model.hidden_units"),
        ((7, 13), "model.embedding_dim"),
        ((), None),
    ],
)
def test_the_longest_side_that_a_key_explains(
    shape: tuple[int, ...], key: str | None, settings: Callable[..., Settings]
) -> None:
    words = ["data.text={user: {name: hash, bins: 1000}}", "model=wide_deep"]
    chosen = settings(*words, "model.hidden_units=[700,30]", "model.embedding_dim=13")
    assert key_of(shape, chosen, FITTED) == key


def test_parameters_in_a_list_of_layers(settings: Callable[..., Settings]) -> None:
    layers = "model.layers=[{name: Dense, units: 64},{name: Dense, units: 900}]"
    assert key_of((64, 900), settings("model=sequential", layers), FITTED) == "model.layers.1.units"
