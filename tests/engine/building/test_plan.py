"""When a run stops, saves and logs, as its config says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tfrun.config.settings import Settings
from tfrun.engine.building.plan import build_plan


@pytest.mark.parametrize(
    ("limits", "last_step"),
    [
        (["max_epochs=3"], 33),
        (["max_epochs=null", "max_steps=20"], 20),
        (["max_epochs=3", "max_steps=20"], 20),
        (["max_epochs=3", "max_steps=40"], 33),
        (["max_epochs=null", "max_seconds=1.5"], None),
    ],
)
def test_the_nearest_limit_counts(settings: Callable[..., Settings], limits: list[str], last_step: int | None) -> None:
    chosen = settings(*(f"trainer.{limit}" for limit in limits))
    plan = build_plan(chosen, steps_per_epoch=11)
    assert (plan.last_step, plan.steps_per_epoch) == (last_step, 11)
    assert plan.max_seconds == chosen.trainer.max_seconds


def test_checkpoints_have_several_cadences(settings: Callable[..., Settings]) -> None:
    words = ["checkpoint.every_epochs=2", "checkpoint.every_steps=15", "checkpoint.every_seconds=null"]
    plan = build_plan(settings(*words), steps_per_epoch=11)
    assert sorted(plan.save_every_steps) == [15, 22]
    assert plan.save_every_seconds is None
    plan = build_plan(settings(), steps_per_epoch=11)
    assert (plan.save_every_steps, plan.save_every_seconds) == ((), 60.0)


@pytest.mark.parametrize(
    ("words", "every"),
    [
        (["logger=null"], None),
        (["logger.every_steps=100"], 100),
        (["trainer.max_epochs=3"], 1),  # 33 steps
        (["trainer.max_epochs=null", "trainer.max_steps=5999"], 11),  # about 500 points
        (["trainer.max_epochs=null", "trainer.max_seconds=1"], 100),
    ],
)
def test_curves_have_about_500_points(settings: Callable[..., Settings], words: list[str], every: int | None) -> None:
    assert build_plan(settings(*words), steps_per_epoch=11).log_every_steps == every
