"""Schedules that lower the learning rate over the run. `step` counts from 0; factors are scalar float32 tensors.

p is the run's progress, from 0 at the end of warm-up to 1 at the last step, which is step `total_steps` − 1.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import tensorflow as tf
from annotated_types import Ge, Gt, Le, Lt

from tfrun import register
from tfrun.errors import ConfigError


def _progress(step: Any, total_steps: Any, warmup_steps: int) -> tf.Tensor:
    """Returns p; 1 at the last step, even if there is one step only."""
    last_step = tf.cast(total_steps, tf.float32) - 1.0
    done = tf.cast(step, tf.float32) - float(warmup_steps)
    p = tf.clip_by_value(done / tf.maximum(last_step - float(warmup_steps), 1.0), 0.0, 1.0)
    return tf.where(tf.cast(step, tf.float32) < last_step, p, 1.0)


def _warmed_up(step: Any, warmup_steps: int, factor: tf.Tensor) -> tf.Tensor:
    """Returns (step + 1)/warmup_steps during warm-up and `factor` after it."""
    if warmup_steps == 0:
        return factor
    rising = (tf.cast(step, tf.float32) + 1.0) / float(warmup_steps)
    return tf.where(rising < 1.0, rising, factor)


@register.schedule("cosine")
def cosine(
    step: Any,
    total_steps: Any,
    final: Annotated[float, Ge(0), Le(1)] = 0.0,
    warmup_steps: Annotated[int, Ge(0)] = 0,
) -> tf.Tensor:
    """Cosine decay: factor = final + (1 − final)·(1 + cos(π·p))/2.

    Source: Loshchilov and Hutter, "SGDR", 2016, arXiv:1608.03983, without restarts.

    Args:
        step: the next step, counted from 0; set by the engine.
        total_steps: the number of steps of the whole run; set by the engine.
        final: the factor at the last step.
        warmup_steps: the number of steps over which the factor first rises linearly to 1.
    """
    p = _progress(step, total_steps, warmup_steps)
    return _warmed_up(step, warmup_steps, final + (1.0 - final) * 0.5 * (1.0 + tf.cos(math.pi * p)))


@register.schedule("linear")
def linear(
    step: Any,
    total_steps: Any,
    final: Annotated[float, Ge(0), Le(1)] = 0.0,
    warmup_steps: Annotated[int, Ge(0)] = 0,
) -> tf.Tensor:
    """Linear decay: factor = 1 − (1 − final)·p.

    Args:
        step: the next step, counted from 0; set by the engine.
        total_steps: the number of steps of the whole run; set by the engine.
        final: the factor at the last step.
        warmup_steps: the number of steps over which the factor first rises linearly to 1.
    """
    p = _progress(step, total_steps, warmup_steps)
    return _warmed_up(step, warmup_steps, 1.0 - (1.0 - final) * p)


@register.schedule("exponential")
def exponential(
    step: Any,
    decay_steps: Annotated[int, Gt(0)] = 1000,
    rate: Annotated[float, Gt(0), Le(1)] = 0.96,
    staircase: bool = False,
) -> tf.Tensor:
    """Exponential decay: factor = rate^(step/decay_steps), independent of the run's length.

    Args:
        step: the next step, counted from 0; set by the engine.
        decay_steps: the number of steps over which the factor is multiplied by `rate` once.
        rate: the number that the factor is multiplied by.
        staircase: whether the factor falls once every `decay_steps` steps, not a little at each step.
    """
    periods = tf.cast(step, tf.float32) / float(decay_steps)
    return tf.pow(tf.constant(rate, tf.float32), tf.floor(periods) if staircase else periods)


@register.schedule("piecewise")
def piecewise(
    step: Any,
    boundaries: list[int] = [],  # noqa: B006 (the catalog reads literal defaults; never changed)
    factors: list[float] = [1.0],  # noqa: B006
    unit: Literal["step", "epoch"] = "step",
    steps_per_epoch: int = 1,
) -> tf.Tensor:
    """Piecewise constant: factor = factors[number of boundaries that are ≤ step].

    Args:
        step: the next step, counted from 0; set by the engine.
        boundaries: increasing steps, or epochs, at which the next factor starts.
        factors: the factors, one more than there are boundaries.
        unit: the unit of the boundaries.
        steps_per_epoch: the number of steps of an epoch; set by the engine.

    Raises:
        ConfigError: the boundaries don't increase, or the number of factors doesn't fit them.
    """
    if len(factors) != len(boundaries) + 1:
        raise ConfigError(
            f"optimizer.schedule.factors: must be one more than boundaries ({len(boundaries)}). "
            f"Received: {list(factors)}"
        )
    if any(later <= earlier for earlier, later in zip(boundaries, boundaries[1:], strict=False)):
        raise ConfigError(f"optimizer.schedule.boundaries: must increase. Received: {list(boundaries)}")
    starts = [start * (steps_per_epoch if unit == "epoch" else 1) for start in boundaries]
    passed = tf.cast(tf.cast(step, tf.int64) >= tf.constant(starts, tf.int64, shape=[len(starts)]), tf.int32)
    return tf.gather(tf.constant(factors, tf.float32), tf.reduce_sum(passed))


@register.schedule("one_cycle")
def one_cycle(
    step: Any,
    total_steps: Any,
    start: Annotated[float, Gt(0), Le(1)] = 0.1,
    rising: Annotated[float, Gt(0), Lt(1)] = 0.5,
    falling: Annotated[float, Gt(0), Lt(1)] = 0.4,
    final: Annotated[float, Ge(0), Le(1)] = 0.001,
) -> tf.Tensor:
    """1cycle: the factor rises linearly from `start` to 1, falls back to `start`, and then falls to `final`.

    The group's learning rate is thus the largest one, reached after the rise. Only the learning rate has a cycle: the
    optimizer's momentum stays as it is, while Smith lowers it in the rise and raises it again in the fall.

    Source: Smith, "A disciplined approach to neural network hyper-parameters", 2018, arXiv:1803.09820; Géron, chapter
    11.

    Args:
        step: the next step, counted from 0; set by the engine.
        total_steps: the number of steps of the whole run; set by the engine.
        start: the factor at the first step.
        rising: the share of the run in which the factor rises.
        falling: the share of the run in which it falls back to `start`; in the remaining share it falls to `final`.
        final: the factor at the last step.

    Raises:
        ConfigError: `rising` and `falling` together are more than 1.
    """
    if float(rising) + float(falling) > 1:
        raise ConfigError(f"optimizer.schedule: rising + falling must be <= 1. Received: {rising} + {falling}")
    p = _progress(step, total_steps, 0)
    up = start + (1.0 - start) * p / rising
    down = 1.0 - (1.0 - start) * (p - rising) / falling
    out = start + (final - start) * (p - rising - falling) / tf.maximum(1.0 - rising - falling, 1e-7)
    factor = tf.where(p < rising, up, tf.where(p < rising + falling, down, out))
    return tf.where(p < 1.0, factor, tf.cast(final, tf.float32))
