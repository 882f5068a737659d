from __future__ import annotations

import sys
from typing import Any

import pytest

from tfrun.engine.session import make_plan


def config(**values: Any) -> dict[str, Any]:
    """A config's sections from `section__key=value`, all else not set."""
    sections: dict[str, Any] = {
        "trainer": {"max_epochs": None, "max_steps": None, "max_seconds": None},
        "checkpoint": {"every_epochs": None, "every_steps": None, "every_seconds": None},
        "logger": {"every_steps": 100},
    }
    for path, value in values.items():
        section, _, key = path.partition("__")
        sections[section][key] = value
    return sections


@pytest.mark.parametrize(
    ("limits", "last_step"),
    [
        ({"trainer__max_epochs": 3}, 33),
        ({"trainer__max_steps": 20}, 20),
        ({"trainer__max_epochs": 3, "trainer__max_steps": 20}, 20),
        ({"trainer__max_epochs": 3, "trainer__max_steps": 40}, 33),
        ({"trainer__max_seconds": 1.5}, sys.maxsize),
    ],
)
def test_the_nearest_limit_counts(limits: dict[str, Any], last_step: int) -> None:
    plan = make_plan(config(**limits), steps_per_epoch=11)
    assert (plan.last_step, plan.steps_per_epoch) == (last_step, 11)
    assert plan.max_seconds == limits.get("trainer__max_seconds")


def test_cadences() -> None:
    plan = make_plan(config(checkpoint__every_epochs=2, checkpoint__every_steps=15), steps_per_epoch=11)
    assert sorted(plan.save_every_steps) == [15, 22]
    assert (plan.save_every_seconds, plan.log_every_steps) == (None, 100)
    plan = make_plan(config(checkpoint__every_seconds=60.0) | {"logger": None}, steps_per_epoch=11)
    assert (plan.save_every_steps, plan.save_every_seconds, plan.log_every_steps) == ((), 60.0, None)
