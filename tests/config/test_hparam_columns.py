from __future__ import annotations

from typing import Any

import pytest

from tfrun.config.catalog import load_catalog
from tfrun.config.hparam_columns import columns, key_kind
from tfrun.config.types import column_kind

CATALOG = load_catalog()


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("optimizer.learning_rate", "number"),
        ("optimizer.clip_norm", "number"),
        ("optimizer.groups.deep.learning_rate", "number"),
        ("optimizer.groups.deep.rows", "text"),
        ("optimizer.schedule.warmup_steps", "number"),
        ("optimizer.schedule", "text"),
        ("trainer.max_epochs", "number"),  # int | Literal["auto"] | None
        ("trainer.deterministic", "bool"),
        ("data.kinds", "text"),
        ("data.split.by", "text"),
        ("model.hidden_units", "text"),
        ("loss.delta", "number"),
        ("seed", "number"),
        ("model", "text"),
        ("early_stopping", "text"),
        ("early_stopping.patience", "number"),
        ("plugin.unknown", "number"),
    ],
)
def test_the_rule_of_a_key_is_the_type_of_its_column(key: str, kind: str) -> None:
    assert key_kind(key, CATALOG) == kind


@pytest.mark.parametrize(
    ("given", "row"),
    [
        ({"optimizer.clip_norm": None}, {}),
        ({"optimizer.clip_norm": 1}, {"optimizer.clip_norm": 1}),
        ({"trainer.max_epochs": "auto"}, {"trainer.max_epochs (text)": "auto"}),
        ({"trainer.deterministic": True}, {"trainer.deterministic": True}),
        ({"model.hidden_units": [4, 3]}, {"model.hidden_units": "[4, 3]"}),
        ({"early_stopping": None}, {"early_stopping": "null"}),
        ({"plugin.unknown": "a"}, {"plugin.unknown (text)": "a"}),
        ({"plugin.unknown": False}, {"plugin.unknown (text)": "false"}),
        ({"optimizer.groups.deep.rows": 3}, {"optimizer.groups.deep.rows": "3"}),
    ],
)
def test_a_row(given: dict[str, Any], row: dict[str, Any]) -> None:
    assert columns(given, CATALOG) == row


@pytest.mark.parametrize(
    ("source", "default", "kind"),
    [
        ("Annotated[float, Gt(0)] | None", None, "number"),
        ("Literal[1, 2]", None, "number"),
        ("Literal['a', True]", None, "bool"),
        ("list[int] | int", None, "text"),
        ("Activation", None, "text"),
        ("Optional[bool]", None, "bool"),
        ("Any", None, None),
        (None, 0.5, "number"),
        (None, False, "bool"),
        (None, None, None),
    ],
)
def test_kinds_of_types(source: str | None, default: Any, kind: str | None) -> None:
    assert column_kind(source, default) == kind
