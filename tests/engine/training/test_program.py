"""Compares blocks with the same training in NumPy, in every mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.layers.dropout import Dropout
from tfrun.data.examples import Examples
from tfrun.data.targets import TargetScale
from tfrun.engine.training.averages import AveragedWeights
from tfrun.engine.training.feed import Resident, Stream
from tfrun.engine.training.order import Order
from tfrun.engine.training.program import Program, XlaError
from tfrun.engine.training.state import State
from tfrun.engine.training.step import StepOptions
from tfrun.engine.training.tolerances import Skips
from tfrun.engine.training.tracker import Tracker

MODES = ["graph_loop", "xla_loop", "eager", "stream", "xla_stream", "narrow_stream"]

# eight rows; the last two are for validation, and their targets are near the outputs of the untrained model
X = np.array([[1, 0], [0, 1], [1, 1], [2, 1], [-1, 1], [1, -2], [1, 2], [-1, 0]], np.float32)
Y = np.array([[1.0], [2.0], [3.5], [4.0], [0.5], [-3.0], [0.1], [0.3]], np.float32)
EPOCHS = [[0, 1, 2, 3, 4, 5], [5, 0, 3, 1, 4, 2]]  # the training rows of even and of odd epochs
SCALE = TargetScale(10.0, 4.0)
VAL = np.array([6, 7], np.int32)
NO_ROWS = np.array([], np.int32)


class ByHand:
    """A fixed order: two rows a step, three steps an epoch."""

    batch_size, steps_per_epoch = 2, 3

    def block(self, first_step: int, num_steps: int) -> np.ndarray:
        rows = [EPOCHS[step // 3 % 2][step % 3 * 2 :][:2] for step in range(first_step, first_step + num_steps)]
        return np.array(rows, np.int32).ravel()


class Numpy:
    """Trains y = x·w + b by gradient descent on mean e²; w and b each have a rate and a cadence."""

    def __init__(self, num_steps: int, rates: Any, every: Sequence[int] = (1, 1), clip_norm: float = np.inf):
        w, b = np.array([0.5, -0.25]), 0.1
        self.losses, self.norms, self.rates, self.train, self.val = [], [], [], [], []
        self.weights: list[list[float]] = []  # at the end of each epoch
        self.path: list[list[float]] = []  # after each step
        errors: list[float] = []
        for step in range(num_steps):
            rows = EPOCHS[step // 3 % 2][step % 3 * 2 :][:2]
            e = X[rows] @ w + b - Y[rows, 0]
            dw, db = 2 * e @ X[rows] / 2, 2 * e.mean()
            self.losses.append(np.mean(e**2))
            self.norms.append(np.sqrt(dw @ dw + db**2))
            self.rates.append(rates(step))
            errors += (SCALE.standard_deviation * np.abs(e)).tolist()
            if (step + 1) % every[0] == 0:
                w = w - rates(step)[0] * dw * min(1, clip_norm / np.sqrt(dw @ dw))
            if (step + 1) % every[1] == 0:
                b = b - rates(step)[1] * db
            self.path.append([*w, b])
            if step % 3 == 2:
                self.train.append([np.mean(self.losses[-3:]), np.mean(errors)])
                e = X[6:] @ w + b - Y[6:, 0]
                self.val.append([np.mean(e**2), SCALE.standard_deviation * np.mean(np.abs(e))])
                self.weights.append([*w, b])
                errors = []
        self.last = [*w, b]


def make(
    build: Any,
    mode: str,
    *,
    best: Tracker | None = None,
    stopper: Tracker | None = None,
    rows: Any = X,
    **options: Any,
) -> tuple[Program, keras.Model]:
    """Returns a program with two groups; each of `options` has a value for the kernel and one for the bias."""
    model = build.linear([0.5, -0.25], 0.1)
    kernel, bias = model.trainable_variables
    groups = [
        build.group([kernel], 0.05, "kernel", **{key: value[0] for key, value in options.items()}),
        build.group([bias], 0.02, "bias", **{key: value[1] for key, value in options.items()}),
    ]
    step = build.step(model, groups, target=SCALE)
    return program_of(build, step, mode, rows=rows, best=best, stopper=stopper), model


def program_of(
    build: Any,
    step: Any,
    mode: str,
    *,
    rows: Any = X,
    order: Any = None,
    val: Any = VAL,
    best: Tracker | None = None,
    stopper: Tracker | None = None,
) -> Program:
    """Returns a program over `rows` and Y.

    `stream` and `xla_stream` load two steps at a time from the host; `narrow_stream` loads one, so that the validation
    split is too large to be kept.
    """
    order = order or cast(Order, ByHand())
    examples, strategy = Examples(rows, Y, {}, cast(Any, None), ""), tf.distribute.get_strategy()
    if "stream" in mode:
        is_narrow = mode == "narrow_stream"
        feed: Any = Stream(examples, order, strategy=strategy, stretch_bytes=12 * (1 if is_narrow else 4))
        assert feed.stretch_steps == (1 if is_narrow else 2) and (feed.select(val) is None) == is_narrow
    else:
        feed = Resident(examples, order, strategy=strategy)
    metrics = build.metrics(SCALE)
    program = Program(step, order, feed=feed, val_rows=val, val_metrics=metrics, best=best, stopper=stopper)
    program.mode = {"stream": "graph_loop", "narrow_stream": "graph_loop", "xla_stream": "xla_loop"}.get(mode, mode)
    return program


class Breaks(keras.optimizers.SGD):
    """Gradient descent that at rates above 1 makes weights infinite."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate = tf.cast(learning_rate, variable.dtype)
        variable.assign_sub(tf.where(rate > 1.0, np.inf, rate) * gradient)


@pytest.mark.parametrize(
    ("mode", "skips"),
    [("graph_loop", False), ("eager", False), ("xla_loop", True), ("eager", True), ("narrow_stream", True)],
)
def test_an_update_that_would_break_a_weight_is_not_made(build: Any, mode: str, skips: bool) -> None:
    model = build.linear([0.5, -0.25], 0.1)
    kernel, bias = model.trainable_variables
    schedule = lambda step: tf.where(step == 4, 100.0, 1.0)  # noqa: E731
    groups = [
        build.group([kernel], 0.05, "kernel", optimizer=Breaks, schedule=schedule),
        build.group([bias], 0.02, "bias"),
    ]
    options = StepOptions(skips=Skips() if skips else None)
    program = program_of(build, build.step(model, groups, target=SCALE, options=options), mode)
    result = program.run(0, 6)
    expected = Numpy(6, lambda step: (0.0, 0.0) if step == 4 else (0.05, 0.02))
    if skips:
        close(result.losses, expected.losses)
        close(result.val, expected.val)
        close(weights(model.trainable_variables), expected.last)
        assert result.finite and options.skips is not None and options.skips.total == 1
    else:
        close(result.losses, expected.losses[:4])
        close(weights(model.trainable_variables), expected.path[3])
        assert not result.finite and program.step == 4
        assert "kernel (optimizer.groups.kernel) infinite or NaN" in result.cause and not result.is_rate


def test_a_learning_rate_that_is_not_a_number_ends_the_run_before_the_update(build: Any) -> None:
    schedule = lambda step: tf.where(step == 4, np.nan, 1.0)  # noqa: E731
    program, model = make(build, "graph_loop", schedule=(schedule, None), schedule_name=("mine", None))
    result = program.run(0, 6)
    expected = Numpy(4, lambda step: (0.05, 0.02))
    close(result.losses, expected.losses)
    close(weights(model.trainable_variables), expected.last)
    assert not result.finite and result.is_rate
    assert result.cause == "optimizer.groups.kernel: the learning rate of the schedule mine is nan"


def weights(variables: Sequence[Any]) -> list[float]:
    return [float(value) for variable in variables for value in np.ravel(variable.numpy())]


def close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_two_epochs_equal_numpy(build: Any, mode: str) -> None:
    best = Tracker("val/loss", "min")
    program, model = make(build, mode, best=best)
    result = program.run(0, 6)
    expected = Numpy(6, lambda step: (0.05, 0.02))
    close(result.losses, expected.losses)
    close(result.norms, expected.norms)
    close(result.learning_rates, expected.rates)
    close(result.train, expected.train)
    close(result.val, expected.val)
    close(weights(model.trainable_variables), expected.last)
    assert program.names == ["loss", "mae"]
    assert result.finite and not result.stopped and result.has_val
    assert int(program.step_count.numpy()) == 6

    # training moves away from the validation's targets, so the first epoch stays the best
    assert expected.val[0][0] < expected.val[1][0]
    assert result.improved.tolist() == [True, False]
    close(best.best.numpy(), expected.val[0][0])
    assert int(best.best_step.numpy()) == 3
    close(weights(program.best_weights), expected.weights[0])


@pytest.mark.parametrize("mode", ["xla_loop", "eager", "narrow_stream"])
def test_validation_uses_the_averaged_weights(build: Any, mode: str) -> None:
    model = build.linear([0.5, -0.25], 0.1)
    kernel, bias = model.trainable_variables
    groups = [build.group([kernel], 0.05, "kernel"), build.group([bias], 0.02, "bias")]
    averages = AveragedWeights(model.trainable_variables, 0.8)
    step = build.step(model, groups, target=SCALE, options=StepOptions(averages=averages))
    program = program_of(build, step, mode, best=Tracker("val/loss", "min"))
    result = program.run(0, 6)
    expected = Numpy(6, lambda step: (0.05, 0.02))
    average, kept, losses = np.array(expected.path[0]), [], []
    for number, now in enumerate(expected.path, start=1):
        average = average if number == 1 else 0.8 * average + 0.2 * np.array(now)
        if number % 3 == 0:
            kept.append(average)
            losses.append(np.mean((X[6:] @ average[:2] + average[2] - Y[6:, 0]) ** 2))
    close(result.losses, expected.losses)  # training uses the weights themselves
    close(weights(model.trainable_variables), expected.last)
    close(result.val[:, 0], losses)
    close(weights(averages.variables), kept[1])
    close(weights(program.best_weights), kept[int(np.argmin(losses))])


@pytest.mark.parametrize("mode", ["xla_loop", "eager", "stream"])
def test_clipping_cadences_and_schedules_equal_numpy(build: Any, mode: str) -> None:
    schedules = (lambda step: 1.0 / (1.0 + tf.cast(step, tf.float32)), None)
    program, model = make(build, mode, schedule=schedules, every=(1, 2), clip_norm=(0.5, None))
    result = program.run(0, 6)
    expected = Numpy(6, lambda step: (0.05 / (1 + step), 0.02), every=(1, 2), clip_norm=0.5)
    close(result.learning_rates, expected.rates)
    close(result.losses, expected.losses)
    close(result.norms, expected.norms)
    close(weights(model.trainable_variables), expected.last)


def test_the_best_of_a_training_metric(build: Any) -> None:
    best = Tracker("train/mae", "min")
    program, _ = make(build, "graph_loop", best=best)
    result = program.run(0, 9)
    expected = [mae for _, mae in Numpy(9, lambda step: (0.05, 0.02)).train]
    assert expected[0] > expected[1] > expected[2]
    assert result.improved.tolist() == [True, True, True]
    close(best.best.numpy(), expected[2])
    assert int(best.best_step.numpy()) == 9


@pytest.mark.parametrize("mode", ["graph_loop", "xla_loop", "narrow_stream"])
def test_early_stopping_ends_the_block_with_its_epoch(build: Any, mode: str) -> None:
    program, model = make(build, mode, stopper=Tracker("val/loss", "min", patience=2))
    expected = Numpy(9, lambda step: (0.05, 0.02))
    losses = [loss for loss, _ in expected.val]
    assert losses[0] < losses[1] < losses[2]
    at_first = program.is_stopped
    result = program.run(0, 30)
    assert not at_first and result.stopped and program.is_stopped
    assert len(result.losses) == 9 and len(result.val) == 3
    assert int(program.step_count.numpy()) == 9
    close(weights(model.trainable_variables), expected.last)


def test_evaluation_counts_each_row_once(build: Any) -> None:
    program, model = make(build, "graph_loop")
    rows = np.array([7, 2, 5], np.int32)
    e = X[rows] @ np.array([0.5, -0.25]) + 0.1 - Y[rows, 0]
    close(list(program.evaluate(rows).values()), [np.mean(e**2), 4 * np.mean(np.abs(e))])
    many = np.tile(rows, 500)  # more than are evaluated at once, and no multiple of that
    values = program.evaluate(many)
    assert list(values) == ["loss", "mae"]
    close(list(values.values()), [np.mean(e**2), 4 * np.mean(np.abs(e))])
    close(weights(model.trainable_variables), [0.5, -0.25, 0.1])


def test_a_run_needs_no_validation_rows(build: Any) -> None:
    model = build.linear([0.5, -0.25], 0.1)
    kernel, bias = model.trainable_variables
    step = build.step(model, [build.group([kernel], 0.05, "kernel"), build.group([bias], 0.02, "bias")], target=SCALE)
    program = program_of(build, step, "graph_loop", val=NO_ROWS, best=Tracker("train/loss", "min"))
    result = program.run(0, 6)
    assert not result.has_val
    close(result.train, Numpy(6, lambda step: (0.05, 0.02)).train)


@pytest.mark.parametrize("mode", ["graph_loop", "eager", "xla_stream", "narrow_stream"])
def test_a_value_that_is_not_finite_ends_the_block_before_the_update(build: Any, mode: str) -> None:
    rows = X.copy()
    rows[3] = np.inf  # seen at the second step
    program, model = make(build, mode, rows=rows)
    result = program.run(0, 6)
    expected = Numpy(1, lambda step: (0.05, 0.02))
    assert not result.finite
    close(result.losses, expected.losses)
    close(weights(model.trainable_variables), expected.last)
    assert len(result.train) == 0 and int(program.step_count.numpy()) == 1


@pytest.mark.parametrize("mode", ["graph_loop", "xla_loop"])
def test_moving_statistics_are_those_of_the_last_good_step(build: Any, mode: str) -> None:
    rows = X.copy()
    rows[3] = np.inf
    norm = keras.layers.BatchNormalization(momentum=0.75, name="norm")
    model = keras.Sequential([keras.Input((2,)), norm, Dropout(0.5, seed=3, name="drop"), keras.layers.Dense(1)])
    step = build.step(model, [build.group(model.trainable_variables, 0.1)])
    program = program_of(build, step, mode, rows=rows, val=NO_ROWS)
    first = program.run(0, 1)
    assert first.finite
    # rows 0 and 1: means 0.5 and variances 0.25 of both columns, from 0 and 1 on
    close(norm.moving_mean.numpy(), [0.125, 0.125])
    close(norm.moving_variance.numpy(), [0.75 + 0.25 * 0.25] * 2)
    before = [variable.numpy() for variable in model.variables]
    assert not program.run(1, 1).finite
    for variable, value in zip(model.variables, before, strict=True):  # the dropout's generator among them
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize("mode", ["graph_loop", "xla_stream", "narrow_stream"])
def test_any_split_into_blocks_gives_the_same_bits(build: Any, mode: str) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(5, activation="tanh", name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            Dropout(0.3, seed=1, name="drop"),
            keras.layers.Dense(1, name="output"),
        ]
    )
    variables = model.trainable_variables
    decay = lambda step: 0.9 ** tf.cast(step, tf.float32)  # noqa: E731
    groups = [
        build.group(variables[:4], 0.01, "deep", keras.optimizers.Adam, schedule=decay, clip_norm=0.3),
        build.group(variables[4:], 0.1, "wide", keras.optimizers.Ftrl, every=2),
    ]
    step = build.step(model, groups, target=SCALE)
    best, stopper = Tracker("val/mae", "min"), Tracker("train/loss", "min", patience=100)
    program = program_of(build, step, mode, order=Order(np.arange(6), 2, seed=4), best=best, stopper=stopper)
    state = State(
        {
            "model": model.variables,
            "optimizers": [variable for group in groups for variable in group.optimizer.variables],
            "metrics": step.metrics.variables,
            "best": [*best.variables, *program.best_weights, *stopper.variables],
            "position": [program.step_count],
        }
    )
    start = state.read()
    outcomes: list[list[np.ndarray]] = []
    for sizes in ([12], [1] * 12, [2, 5, 4, 1]):
        state.write(start)
        results = [program.run(int(first), size) for first, size in zip(np.cumsum([0, *sizes]), sizes, strict=False)]
        joined = [
            np.concatenate([getattr(result, name) for result in results])
            for name in ("losses", "norms", "learning_rates", "train", "val", "improved")
        ]
        outcomes.append([*joined, *state.read().values()])
    assert len(outcomes[0][0]) == 12 and len(outcomes[0][3]) == 4
    assert not np.array_equal(start["model/0000"], state.read()["model/0000"])
    for other in outcomes[1:]:
        for one, two in zip(outcomes[0], other, strict=True):
            np.testing.assert_array_equal(one, two)

    # a run that was killed two steps after its state was saved in the middle of an epoch
    state.write(start)
    program.run(0, 5)
    saved = state.read()
    program.run(5, 2)
    state.write(saved)
    np.testing.assert_array_equal(program.run(5, 7).losses, outcomes[0][0][5:])
    for one, two in zip(outcomes[0][6:], state.read().values(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_longest_block_contains_whole_epochs(build: Any) -> None:
    program, _ = make(build, "graph_loop")
    assert program.max_steps % 3 == 0
    assert 3 <= program.max_steps <= 4096


def test_another_run_starts_from_step_0(build: Any) -> None:
    program, model = make(build, "graph_loop", best=Tracker("val/loss", "min"))
    first = program.run(0, 3)
    feed = program.feed
    program.release()
    with pytest.raises(AssertionError, match="start"):
        _ = program.feed
    model.set_weights([np.array([[0.5], [-0.25]]), np.array([0.1])])
    program.start(feed, VAL)
    assert program.step == 0
    close(weights(program.best_weights), [0.5, -0.25, 0.1])
    np.testing.assert_array_equal(program.run(0, 3).losses, first.losses)


def test_an_operation_that_xla_lacks_is_named(build: Any) -> None:
    def loss(y: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return tf.square(y_pred[:, 0]) + tf.strings.to_number(tf.strings.as_string(y[:, 0]))

    model = build.linear([0.5, -0.25], 0.1)
    step = build.step(model, [build.group(model.trainable_variables, 0.1)], loss=loss)
    program = program_of(build, step, "xla_loop", val=NO_ROWS)
    with pytest.raises(XlaError, match="trainer.compile: XLA can't compile this step, graph or auto can: .*"):
        program.run(0, 1)
    program.mode = "graph_loop"
    assert np.isfinite(program.run(0, 1).losses).all()
