"""The loss scale, and the count of skipped steps."""

from __future__ import annotations

import tensorflow as tf

from tfrun.engine.training.tolerances import FIRST_SCALE, GROWS_AFTER, MAX_CONSECUTIVE_SKIPS, LossScale, Skips

YES, NO = tf.constant(True), tf.constant(False)
LOSS = tf.constant(1.0)


def state(scale: LossScale) -> list[float]:
    return [float(variable.numpy()) for variable in scale.variables]


def test_the_scale_is_removed_from_the_gradient() -> None:
    scale = LossScale()
    assert float(scale.up(tf.constant(0.5))) == 0.5 * FIRST_SCALE
    gradient = scale.down(tf.constant([FIRST_SCALE, -3 * FIRST_SCALE], tf.float32))
    assert gradient.numpy().tolist() == [1.0, -3.0]
    assert scale.down(tf.constant([1.0], tf.float16)).dtype == tf.float16


def test_the_scale_is_halved_after_a_step_that_is_not_finite() -> None:
    scale = LossScale()
    scale.update(YES, YES)
    assert scale.tolerates(LOSS) and not scale.tolerates(tf.constant(float("inf")))
    scale.update(NO, YES)
    assert state(scale) == [FIRST_SCALE / 2, 0]


def test_the_scale_doubles_after_enough_consecutive_good_steps() -> None:
    scale = LossScale()
    scale.variables[1].assign(GROWS_AFTER - 1)
    scale.update(YES, YES)
    assert state(scale) == [2 * FIRST_SCALE, 0]


def test_a_scale_of_one_can_not_be_the_cause() -> None:
    scale = LossScale()
    scale.variables[0].assign(1.0)
    assert not scale.tolerates(LOSS)
    scale.update(NO, NO)
    assert state(scale) == [1.0, 0]


def test_fewer_steps_may_be_skipped_in_a_short_epoch() -> None:
    skips = Skips(2)
    for count in (1, 2):
        assert skips.tolerates(LOSS)
        skips.update(NO, YES)
        assert skips.is_diverged(2 * count - 1) and not skips.is_diverged(2 * count)  # most of them, or half
    assert not skips.tolerates(LOSS)


def test_only_so_many_consecutive_steps_may_be_skipped() -> None:
    skips = Skips()
    for _ in range(MAX_CONSECUTIVE_SKIPS):
        assert skips.tolerates(LOSS)
        skips.update(NO, YES)
    assert not skips.tolerates(LOSS)
    skips.update(NO, NO)
    assert skips.total == MAX_CONSECUTIVE_SKIPS
    skips.update(YES, YES)
    assert skips.tolerates(LOSS) and skips.total == MAX_CONSECUTIVE_SKIPS
