"""When a run stops and saves, and how long its blocks are."""

from __future__ import annotations

import numpy as np
import pytest

from tfrun.engine.training.plan import Plan


def test_block_steps_properties() -> None:
    """Blocks always train something, and end where Python has something to do, but not earlier than needed."""
    generator = np.random.default_rng(0)
    for _ in range(2000):
        per_epoch, last_step = (int(n) for n in generator.integers(1, 60, 2))
        cadences = tuple(int(n) for n in generator.integers(1, 40, generator.integers(0, 3)))
        plan = Plan(per_epoch, last_step, save_every_steps=cadences)
        step, wanted = int(generator.integers(0, last_step)), int(generator.integers(0, 100))
        end = step + plan.block_steps(step, wanted)
        assert step < end <= last_step
        assert end - step <= max(1, wanted)
        passed = range(step + 1, end)
        assert not any(middle % every == 0 for middle in passed for every in cadences)
        if any(middle % per_epoch == 0 for middle in passed):
            assert end % per_epoch == 0 or end in {every * (step // every + 1) for every in cadences}


@pytest.mark.parametrize(
    ("step", "wanted", "num_steps"),
    [
        (0, 5, 5),  # inside an epoch
        (0, 10, 10),  # a whole one
        (0, 37, 30),  # whole ones
        (7, 5, 3),  # to the epoch's end
        (7, 15, 13),  # to the next one's end
        (0, 0, 1),  # at least a step
        (90, 100, 5),  # to the last step
    ],
)
def test_block_steps_by_hand(step: int, wanted: int, num_steps: int) -> None:
    assert Plan(steps_per_epoch=10, last_step=95).block_steps(step, wanted) == num_steps


def test_a_block_ends_where_the_run_pauses() -> None:
    plan = Plan(steps_per_epoch=10, last_step=95, pause_step=40)
    assert plan.block_steps(35, 100) == 5
    assert plan.is_left(39) and not plan.is_left(40)
    assert plan.is_paused(40) and not plan.is_paused(95)


def test_a_plan_without_a_last_step_has_no_end() -> None:
    plan = Plan(steps_per_epoch=10, last_step=None)
    assert plan.is_left(10**12) and plan.is_paused(10**12)
    assert plan.block_steps(10**12, 25) == 20


def test_saves_by_steps_and_by_seconds() -> None:
    plan = Plan(10, 100, save_every_steps=(4, 6), save_every_seconds=9.0)
    assert [step for step in range(1, 13) if plan.is_save_due(step, 0.0)] == [4, 6, 8, 12]
    assert plan.is_save_due(5, 9.0) and not plan.is_save_due(5, 8.9)
    assert not Plan(10, 100).is_save_due(10, 10**9)


def test_a_block_ends_where_weights_are_looked_at_and_where_a_profile_begins_and_ends() -> None:
    plan = Plan(steps_per_epoch=10, last_step=95, look_every_steps=20, profile=(33, 36))
    assert [plan.block_steps(step, 100) for step in (0, 20, 33, 36, 40)] == [20, 13, 3, 4, 20]
