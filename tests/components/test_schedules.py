import inspect
import math
from typing import Any

import pytest
import tensorflow as tf

from tfrun.components.schedules import decay
from tfrun.components.schedules.plateau import Plateau
from tfrun.errors import ConfigError


@pytest.mark.parametrize(
    ("schedule", "step", "params", "expected"),  # of 101 steps: the last one is step 100
    [
        (decay.cosine, 0, {}, 1.0),
        (decay.cosine, 25, {}, (1 + math.sqrt(0.5)) / 2),
        (decay.cosine, 50, {"final": 0.1}, 0.55),
        (decay.cosine, 100, {"final": 0.1}, 0.1),
        (decay.cosine, 300, {}, 0.0),
        (decay.cosine, 0, {"warmup_steps": 10}, 0.1),
        (decay.cosine, 9, {"warmup_steps": 10}, 1.0),
        (decay.cosine, 55, {"warmup_steps": 10}, 0.5),
        (decay.linear, 40, {}, 0.6),
        (decay.linear, 100, {"final": 0.5}, 0.5),
        (decay.linear, 4, {"warmup_steps": 10}, 0.5),
        (decay.exponential, 1500, {"rate": 0.25}, 0.125),
        (decay.exponential, 1999, {"rate": 0.25, "staircase": True}, 0.25),
        (decay.piecewise, 5, {}, 1.0),
        (decay.piecewise, 9, {"boundaries": [10, 20], "factors": [1, 0.1, 0.01]}, 1.0),
        (decay.piecewise, 10, {"boundaries": [10, 20], "factors": [1, 0.1, 0.01]}, 0.1),
        (decay.piecewise, 9, {"boundaries": [2], "factors": [1, 0.1], "unit": "epoch", "steps_per_epoch": 5}, 1.0),
        (decay.piecewise, 10, {"boundaries": [2], "factors": [1, 0.1], "unit": "epoch", "steps_per_epoch": 5}, 0.1),
        (decay.one_cycle, 0, {}, 0.1),
        (decay.one_cycle, 25, {}, 0.55),
        (decay.one_cycle, 50, {}, 1.0),
        (decay.one_cycle, 70, {}, 0.55),
        (decay.one_cycle, 90, {}, 0.1),
        (decay.one_cycle, 95, {"final": 0.02}, 0.06),
        (decay.one_cycle, 100, {}, 0.001),
        (decay.one_cycle, 100, {"rising": 0.6, "falling": 0.4, "final": 0.02}, 0.02),
        (decay.piecewise, 20, {"boundaries": [10, 20], "factors": [1, 0.1, 0.01]}, 0.01),
    ],
)
def test_factor(schedule: Any, step: Any, params: Any, expected: Any) -> None:
    length = {"total_steps": 101} if "total_steps" in inspect.signature(schedule).parameters else {}
    compiled = tf.function(lambda at: schedule(at, **length, **params), jit_compile=True)
    for factor in (schedule(tf.constant(step, tf.int64), **length, **params), compiled(tf.constant(step, tf.int32))):
        assert factor.dtype == tf.float32
        assert factor.shape == ()
        assert float(factor) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("schedule", [decay.cosine, decay.linear, decay.one_cycle])
@pytest.mark.parametrize("total_steps", [1, 2, 20, 1_000_003])
def test_the_last_step_gets_the_final_factor(schedule: Any, total_steps: int) -> None:
    for last in (total_steps - 1, total_steps, total_steps + 5):
        assert float(schedule(tf.constant(last, tf.int64), float(total_steps), final=0.003)) == pytest.approx(
            0.003, abs=1e-6
        )
    if total_steps > 2:
        assert float(schedule(tf.constant(total_steps - 2, tf.int64), float(total_steps), final=0.003)) > 0.003


def test_piecewise_checks_its_lists() -> None:
    with pytest.raises(ConfigError, match="must be one more than boundaries"):
        decay.piecewise(0, boundaries=[10], factors=[1.0])
    with pytest.raises(ConfigError, match="must increase"):
        decay.piecewise(0, boundaries=[10, 10], factors=[1.0, 0.5, 0.1])


def test_one_cycle_checks_its_shares() -> None:
    with pytest.raises(ConfigError, match=r"rising \+ falling must be <= 1"):
        decay.one_cycle(0, 100, rising=0.7, falling=0.4)


def test_plateau_lowers_the_factor_once_patience_is_over() -> None:
    schedule = Plateau(monitor="val/mae", decay=0.5, patience=2, min_delta=0.1, final=0.2)
    end_epoch = tf.function(lambda value: schedule.end_epoch({"val/mae": value, "val/loss": 0.0}))
    factors = []
    for value in [3.0, 2.0, 1.95, 2.5, 1.0, float("nan"), float("-inf"), 1.0, 1.0, 1.0]:  # 1.95 is not 0.1 better
        end_epoch(tf.constant(value))
        factors.append(float(schedule(0)))
    assert factors == pytest.approx([1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2])
