"""One step of y = x·w + b, worked out by hand: loss = mean e², so dL/dw = mean 2·e·x and dL/db = mean 2·e."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.data.targets import TargetScale
from tfrun.engine.training.groups import Group
from tfrun.engine.training.rows import Tracing
from tfrun.engine.training.step import StepOptions
from tfrun.engine.training.tolerances import MAX_CONSECUTIVE_SKIPS, LossScale, Skips
from tfrun.errors import ConfigError

X = np.array([[1.0], [2.0]], np.float32)
Y = np.array([[2.0], [4.0]], np.float32)
ROWS = tf.constant([0, 1])


def run(step: Any, num_steps: int = 1, data: Any = (X, Y, ()), first: int = 0) -> list[list[np.ndarray]]:
    data = tf.nest.map_structure(tf.constant, data)
    steps = [tf.constant(k, tf.int64) for k in range(first, first + num_steps)]
    return [[value.numpy() for value in step(data, ROWS, k)] for k in steps]


def weights(model: keras.Model) -> list[float]:
    return [float(value) for variable in model.trainable_variables for value in np.ravel(variable.numpy())]


def close(actual: Any, expected: Sequence[float]) -> None:
    np.testing.assert_allclose(np.ravel(actual), expected, rtol=1e-6, atol=1e-7)


def test_two_steps_of_gradient_descent(build: Any) -> None:
    model = build.linear([0.0], 0.0)
    step = build.step(model, [build.group(model.trainable_variables, 0.1)])
    (first, second) = run(step, 2)
    # e = -2, -4: loss (4 + 16)/2, dw = (-4 - 16)/2, db = (-4 - 8)/2
    close(first[0], [10.0])
    close(first[1], [np.sqrt(10**2 + 6**2)])
    close(first[2], [0.1])
    assert first[3]
    # w = 1, b = 0.6: e = -0.4, -1.4
    close(second[0], [(0.16 + 1.96) / 2])
    dw, db = (2 * -0.4 * 1 + 2 * -1.4 * 2) / 2, (2 * -0.4 + 2 * -1.4) / 2
    close(second[1], [np.hypot(dw, db)])
    close(weights(model), [1 - 0.1 * dw, 0.6 - 0.1 * db])
    close(step.metrics.loss_mean.result(), [(10 + 1.06) / 2])
    close(step.metrics.metrics[0].result(), [(2 + 4 + 0.4 + 1.4) / 4])


def test_groups_have_their_own_rates(build: Any) -> None:
    model = build.linear([0.0], 0.0)
    kernel, bias = model.trainable_variables
    step = build.step(model, [build.group([bias], 0.5, "bias"), build.group([kernel], 0.01, "kernel")])
    ((_, norm, rates, _),) = run(step)
    close(weights(model), [0.01 * 10, 0.5 * 6])
    close(rates, [0.5, 0.01])
    close(norm, [np.sqrt(136)])


def test_clip_norm_limits_the_norm_of_a_group_and_keeps_its_direction(build: Any) -> None:
    model = build.linear([0.0, 0.0], 0.0)
    kernel, bias = model.trainable_variables
    step = build.step(
        model,
        [build.group([kernel], 1.0, "kernel", clip_norm=1.0), build.group([bias], 1.0, "bias", clip_norm=100.0)],
    )
    x = np.array([[3.0, 4.0], [3.0, 4.0]], np.float32)
    ((loss, norm, _, _),) = run(step, data=(x, np.ones((2, 1), np.float32), ()))
    # e = -1: dw = (-6, -8) with norm 10, clipped to (-0.6, -0.8); db = -2 is below 100
    close(loss, [1.0])
    close(norm, [np.sqrt(100 + 4)])  # the reported norm is the one before clipping
    close(weights(model), [0.6, 0.8, 2.0])


def test_a_gradient_below_clip_norm_is_not_changed(build: Any) -> None:
    model = build.linear([0.0], 0.0)
    step = build.step(model, [build.group(model.trainable_variables, 0.1, clip_norm=12.0)])
    run(step)
    close(weights(model), [1.0, 0.6])


def test_a_group_that_updates_at_every_second_step(build: Any) -> None:
    model = build.linear([0.0], 0.0)
    kernel, bias = model.trainable_variables
    step = build.step(model, [build.group([kernel], 0.1, "kernel"), build.group([bias], 0.1, "bias", every=2)])
    run(step, 1)
    close(weights(model), [1.0, 0.0])
    # e = -1, -2: dw = (-2 - 8)/2, db = (-2 - 4)/2
    run(step, 1, first=1)
    close(weights(model), [1.5, 0.3])


def test_a_group_updates_only_in_its_stage(build: Any) -> None:
    model = build.linear([0.0], 0.0)
    kernel, bias = model.trainable_variables
    groups = [build.group([kernel], 0.1, "kernel"), build.group([bias], 0.1, "bias", first_step=1, end_step=2)]
    step = build.step(model, groups)
    ((_, _, rates, _),) = run(step, 1)
    close(weights(model), [1.0, 0.0])
    close(rates, [0.1, 0.0])
    ((_, _, rates, _),) = run(step, 1, first=1)
    close(weights(model), [1.5, 0.3])
    close(rates, [0.1, 0.1])
    ((_, _, rates, _),) = run(step, 1, first=2)
    assert weights(model)[1] == pytest.approx(0.3)
    close(rates, [0.1, 0.0])


def test_row_weights_multiply_losses_and_weight_metrics(build: Any) -> None:
    model = build.linear([0.0], 0.0)
    step = build.step(model, [build.group(model.trainable_variables, 0.1)])
    row_weights = np.array([3.0, 0.5], np.float32)
    ((loss, _, _, _),) = run(step, data=(X, Y, row_weights))
    errors = -Y[:, 0]
    close(loss, np.sum(row_weights * errors**2) / 2)
    dw, db = np.sum(row_weights * 2 * errors * X[:, 0]) / 2, np.sum(row_weights * 2 * errors) / 2
    close(weights(model), [-0.1 * dw, -0.1 * db])
    close(step.metrics.metrics[0].result(), np.average(np.abs(errors), weights=row_weights))


@pytest.mark.parametrize("sums_by_halves", [True, False])
def test_the_norm_of_many_gradients_is_their_root_of_squares(build: Any, sums_by_halves: bool) -> None:
    x = np.random.default_rng(0).standard_normal((2, 12_345)).astype("float32")
    model = build.linear(np.zeros(12_345), 0.0)
    step = build.step(model, [build.group(model.trainable_variables, 0.1)])
    data = tf.nest.map_structure(tf.constant, (x, Y, ()))
    _, norm, *_ = step(data, ROWS, tf.constant(0, tf.int64), tracing=Tracing(in_xla=sums_by_halves))
    errors = -Y.astype("float64")
    gradient = np.append(np.mean(2 * errors * x, axis=0), np.mean(2 * errors))
    close(norm / np.sqrt(np.sum(gradient**2)), [1.0])


def test_a_frozen_group_is_not_updated(build: Any) -> None:
    model = build.linear([0.0], 0.25)
    kernel, bias = model.trainable_variables
    step = build.step(model, [Group("fixed", [bias]), build.group([kernel], 0.1, "kernel")])
    ((_, norm, rates, _),) = run(step)
    # e = -1.75, -3.75: dw = (-3.5 - 15)/2
    close(weights(model), [0.925, 0.25])
    close(norm, [9.25])  # of the trained variables
    close(rates, [0.1])


def test_a_schedule_counts_from_step_zero(build: Any) -> None:
    model = build.linear([0.0], 0.0)
    schedule = lambda step: tf.cast(step + 1, tf.float32) * 2.0  # noqa: E731
    step = build.step(model, [build.group(model.trainable_variables, 0.01, schedule=schedule)])
    results = run(step, 3)
    close([rates for _, _, rates, _ in results], [0.02, 0.04, 0.06])
    close(step.active[0].base_learning_rate.numpy(), [0.01])


def test_the_update_uses_the_scheduled_rate(build: Any) -> None:
    model = build.linear([0.0], 0.0)
    step = build.step(model, [build.group(model.trainable_variables, 1.0, schedule=lambda step: 0.1)])
    run(step)
    close(weights(model), [1.0, 0.6])


def test_metrics_are_in_the_unit_of_the_target(build: Any) -> None:
    model = build.linear([0.0], 0.0)
    step = build.step(model, [build.group(model.trainable_variables, 0.1)], target=TargetScale(100.0, 5.0))
    ((loss, *_),) = run(step)
    close(loss, [10.0])  # in units of the scaled target
    close(step.metrics.metrics[0].result(), [5 * (2 + 4) / 2])
    np.testing.assert_allclose(TargetScale(100.0, 5.0).restore(tf.constant([-2.0, 0.0])), [90.0, 100.0])


def test_losses_of_the_model_are_added(build: Any) -> None:
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.5), name="output")]
    )
    model.layers[0].set_weights([np.array([[2.0]]), np.array([0.0])])  # fits exactly
    step = build.step(model, [build.group(model.trainable_variables, 0.1)])
    ((loss, norm, _, _),) = run(step)
    close(loss, [0.5 * 4])
    close(norm, [2 * 0.5 * 2])
    close(weights(model), [2 - 0.1 * 2, 0.0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nothing_is_updated_if_the_loss_is_not_finite(build: Any, bad: float) -> None:
    model = build.linear([0.5], 0.25)
    step = build.step(model, [build.group(model.trainable_variables, 0.1, optimizer=keras.optimizers.Adam)])
    before = [variable.numpy() for variable in step.active[0].optimizer.variables[2:]]
    ((loss, _, _, ok),) = run(step, data=(np.array([[1.0], [bad]], np.float32), Y, ()))
    assert not ok and not np.isfinite(loss)
    close(weights(model), [0.5, 0.25])
    for variable, value in zip(step.active[0].optimizer.variables[2:], before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert float(step.metrics.loss_mean.result()) == 0.0 and float(step.metrics.metrics[0].result()) == 0.0


def test_nothing_is_updated_if_only_the_gradient_is_not_finite(build: Any) -> None:
    model = build.linear([0.0], 0.0)
    step = build.step(model, [build.group(model.trainable_variables, 0.1)])
    step.loss = lambda y, y_pred: tf.sqrt(tf.abs(y_pred[:, 0]))  # 0 at 0, its slope is not
    ((loss, norm, _, ok),) = run(step)
    assert loss == 0.0 and not np.isfinite(norm) and not ok
    close(weights(model), [0.0, 0.0])


def test_a_variable_without_a_gradient_is_reported(build: Any) -> None:
    model = build.linear([0.0], 0.0)
    step = build.step(model, [build.group(model.trainable_variables, 0.1)])
    step.loss = lambda y, y_pred: tf.square(y[:, 0]) * tf.stop_gradient(y_pred[:, 0])
    with pytest.raises(ConfigError, match=r"get no gradient.*output/kernel.*output/bias.*frozen: true"):
        run(step)


@pytest.mark.parametrize("compile", [False, True])
def test_microbatches_give_the_same_result_as_the_whole_batch(build: Any, compile: bool) -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(8, 1)).astype("float32"), random.normal(size=(8, 1)).astype("float32")
    data = tf.nest.map_structure(tf.constant, (x, y, np.linspace(0.5, 2.0, 8, dtype="float32")))
    results = []
    for count in (1, 4):
        model = build.linear([0.5], 0.25)
        step = build.step(model, [build.group(model.trainable_variables, 0.1)], options=StepOptions(microbatches=count))
        rows, first = tf.constant([7, 0, 3, 1, 2, 6, 5, 4]), tf.constant(0, tf.int64)
        run = tf.function(step, autograph=False) if compile else step
        loss, norm, *_ = run(data, rows, first)
        results.append([float(loss), float(norm), float(step.metrics.metrics[0].result()), *weights(model)])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5)


def scaled(build: Any, x: Any, y: Any) -> tuple[Any, Any, list[Any]]:
    model = build.linear([0.0], 0.0)
    scale = LossScale()
    step = build.step(model, [build.group(model.trainable_variables, 0.1)], options=StepOptions(loss_scale=scale))
    return model, scale, run(step, data=(np.array(x, np.float32), np.array(y, np.float32), ()))


def test_a_scaled_loss_gives_the_same_step(build: Any) -> None:
    model, scale, ((loss, norm, _, ok),) = scaled(build, X, Y)
    close(loss, [10.0])
    close(norm, [np.hypot(10, 6)])
    close(weights(model), [1.0, 0.6])
    assert ok
    assert [float(v.numpy()) for v in scale.variables] == [2.0**15, 1]


def test_a_gradient_beyond_the_scale_halves_it_and_changes_no_weight(build: Any) -> None:
    model, scale, ((loss, norm, _, ok),) = scaled(build, [[1e18], [2e18]], [[1e17], [2e17]])  # e·x·2¹⁵ overflows
    assert np.isfinite(loss) and not np.isfinite(norm)
    assert ok  # the step is counted
    assert weights(model) == [0.0, 0.0]
    assert [float(v.numpy()) for v in scale.variables] == [2.0**14, 0]


def test_a_step_whose_numbers_are_not_finite_may_be_skipped(build: Any) -> None:
    model, skips = build.linear([0.5], 0.25), Skips()
    step = build.step(model, [build.group(model.trainable_variables, 0.1)], options=StepOptions(skips=skips))
    bad = (np.array([[1.0], [np.nan]], np.float32), Y, ())
    for _ in range(2):
        ((*_, taken),) = run(step, data=bad)
        assert taken
    assert (weights(model), skips.total) == ([0.5, 0.25], 2)
    skips.variables[0].assign(MAX_CONSECUTIVE_SKIPS)
    ((*_, taken),) = run(step, data=bad)
    assert not taken and skips.total == 2


def test_a_step_that_the_loss_scale_explains_is_not_counted_as_skipped(build: Any) -> None:
    model, options = build.linear([0.0], 0.0), StepOptions(loss_scale=LossScale(), skips=Skips(1))
    step = build.step(model, [build.group(model.trainable_variables, 0.1)], options=options)
    overflowing = (np.array([[1e18], [2e18]], np.float32), np.array([[1e17], [2e17]], np.float32), ())
    for _ in range(3):
        ((*_, taken),) = run(step, data=overflowing)
        assert taken
    assert options.skips is not None and options.skips.total == 0


def test_a_skipped_step_leaves_the_metrics_of_the_model_as_they_were(build: Any) -> None:
    class Measuring(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.mean = keras.layers.Dense(1), keras.metrics.Mean("input")

        def call(self, inputs: Any) -> Any:
            self.mean.update_state(inputs)
            return self.dense(inputs)

    model = Measuring()
    model(X)
    model.mean.reset_state()
    step = build.step(model, [build.group(model.trainable_variables, 0.1)], options=StepOptions(skips=Skips()))
    bad = (np.array([[1.0], [np.nan]], np.float32), Y, ())
    run(step, data=bad)
    assert float(model.mean.count) == 0.0
    run(step)
    run(step, data=bad)
    assert float(model.mean.result()) == np.mean(X)
