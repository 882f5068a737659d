"""JSON without NaN and Infinity."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tfrun.files import strict_json


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, "x"], "b": {"c": True}}, [], 3.0])
def test_finite_values_are_those_of_json(value: Any) -> None:
    assert strict_json.dumps(value) == json.dumps(value)
    assert strict_json.dumps(value, indent=2, sort_keys=True) == json.dumps(value, indent=2, sort_keys=True)


def test_a_number_that_is_not_finite_is_null() -> None:
    value = {"a": math.nan, "b": [math.inf, 1.0], "c": ({"d": -math.inf},), "e": Path("f")}
    assert strict_json.dumps(value, default=str) == '{"a": null, "b": [null, 1.0], "c": [{"d": null}], "e": "f"}'


@pytest.mark.parametrize(
    ("value", "number"), [(0.0, 0.0), (3, 3), (None, None), (math.nan, None), (-math.inf, None), ("1", None)]
)
def test_defined(value: Any, number: float | None) -> None:
    assert strict_json.defined(value) == number
