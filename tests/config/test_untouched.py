"""A state is restored only with the config and the preprocessing that it was saved with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrun.config.changes import recorded
from tfrun.config.settings import Settings
from tfrun.config.untouched import check
from tfrun.errors import CheckpointError
from tfrun.files.digests import digests
from tfrun.files.runs import RunFolder

FIELDS: dict[str, Any] = {"means": {"a": 1.5}, "task": "regression"}


def check_words(settings: Callable[..., Settings], *words: str, fields: dict[str, Any] | None = None) -> None:
    saved = {"config": recorded(settings("seed=1")), "preprocessing": digests(FIELDS)}
    check(saved, RunFolder(Path("run")), step=30, settings=settings("seed=1", *words), preprocessing=fields)


def test_the_same_and_what_may_change_is_accepted(settings: Callable[..., Settings]) -> None:
    check_words(settings, "trainer.max_epochs=77", fields=FIELDS)
    check({}, RunFolder(Path("run")), step=30, settings=settings(), preprocessing={})  # of an earlier version


def test_what_has_changed_is_named(settings: Callable[..., Settings]) -> None:
    end = "Change that back; anything else is a new run"
    since = "has been changed since the checkpoint of step 30 was saved, and its state belongs to what was there"
    with pytest.raises(CheckpointError, match=f"^run/config.yaml: {since}: seed: 1 -> 2. {end}$"):
        check_words(settings, "seed=2", fields=FIELDS)
    with pytest.raises(CheckpointError, match=f"^run/preprocessing.json: {since}: means.a. {end}$"):
        check_words(settings, fields={**FIELDS, "means": {"a": 1.0}})
