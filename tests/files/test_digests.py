from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfrun.files.digests import changed, digests, file_sha256

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


def test_a_file_has_the_digest_that_sha256sum_prints(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # the first example of FIPS 180-2
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
