"""The cores that this process may use."""

from __future__ import annotations

import os

import pytest

from tfrun import host_cores


@pytest.mark.parametrize(("value", "expected"), [("3", 3), ("", None), ("0", None), ("many", None)])
def test_a_share_of_the_cores(value: str, expected: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 4, 6, 8})
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", value)
    assert host_cores.num_cores() == (expected or 5)
