from __future__ import annotations

from typing import Any

import pytest

from tfrun.files.digests import changed, digests

FIELDS: dict[str, Any] = {
    "means": {"a": 1.5, "b": 2.0},
    "vocabularies": {"c": ["red"]},
    "task": "regression",
    "bins": {},
}


@pytest.mark.parametrize(
    ("now", "paths"),
    [
        ({}, []),
        ({"means": {"a": 1.25, "b": 2.0}}, ["means.a"]),
        ({"means": {"b": 2.0, "a": 1.5}}, []),  # the order of a mapping's entries means nothing
        ({"means": {"a": 1.5}}, ["means.b"]),
        ({"bins": {"c": 8}}, ["bins.c"]),
        ({"vocabularies": {"c": ["rad"]}, "task": "classification"}, ["vocabularies.c", "task"]),
        ({"means": 3}, ["means"]),
        ({"added": {"a": 1}}, []),  # by a later version
    ],
)
def test_what_has_changed_is_named(now: dict[str, Any], paths: list[str]) -> None:
    assert changed(digests(FIELDS), {**FIELDS, **now}) == paths


def test_a_field_that_is_gone_has_changed() -> None:
    assert changed(digests(FIELDS), {key: FIELDS[key] for key in FIELDS if key != "task"}) == ["task"]
