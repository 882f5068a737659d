"""The guard of the state, over trainings by hand; test_program.py has it over compiled blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training import guard, residency
from tfrun.engine.training.guard import Guard, GuardedState, rates_not_finite
from tfrun.engine.training.step import NO_STEP
from tfrun.errors import DivergedError


@dataclass(frozen=True)
class Result:
    """What a block of a lane trained: the numbers of its steps."""

    steps: list[int]
    finite: bool = True
    stopped: bool = False
    cause: str = ""


def join(results: list[Result]) -> Result:
    steps = [step for result in results for step in result.steps]
    return Result(steps, results[-1].finite, results[-1].stopped, results[-1].cause)


class Adding:
    """Adds 1 to the weights of the lanes that are on at each step, and breaks some steps of lane 1.

    Args:
        breaks: step → the value that its update gives the second weight.
        skips: whether a step that must make no update is skipped, or ends the run.
    """

    def __init__(self, breaks: dict[int, float], *, skips: bool = False, **options: Any):
        self.weights = tf.Variable([[0.0, 10.0], [0.0, 20.0]])
        self.count = tf.Variable([0, 0])
        self.refused = keras.Variable(NO_STEP, dtype="int64", trainable=False)
        self.breaks, self.skips = breaks, skips
        self.trained: list[tuple[int, int]] = []  # (first step, number of steps) of each call
        self.guard = Guard(GuardedState([self.weights, self.count], ["w", "count"], 2), self.refused, join, **options)

    def __call__(self, on: Sequence[bool], first_step: int, num_steps: int) -> list[Result]:
        self.trained.append((first_step, num_steps))
        results = []
        for lane in range(2):
            result = Result([])
            for step in range(first_step, first_step + num_steps) if on[lane] else ():
                if step == int(self.refused.numpy()):
                    if not self.skips:
                        result = Result(result.steps, finite=False)
                        break
                else:
                    added = [1.0, self.breaks.get(step, 1.0) if lane else 1.0]
                    self.weights.scatter_nd_add([[lane]], [added])
                self.count.scatter_nd_add([[lane]], [1])
                result = Result([*result.steps, step])
            results.append(result)
        return results

    def run(self, first_step: int, num_steps: int) -> list[Result]:
        return self.guard.train(self, [True, True], first_step=first_step, num_steps=num_steps)


def test_a_finite_block_is_trained_once() -> None:
    training = Adding({})
    assert [result.steps for result in training.run(4, 3)] == [[4, 5, 6]] * 2
    assert training.trained == [(4, 3)]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_the_step_that_breaks_a_lane_ends_it(value: float) -> None:
    training = Adding({5: value})
    first, second = training.run(3, 4)
    assert first == Result([3, 4, 5, 6])
    assert second == Result([3, 4], finite=False, cause="the update makes w infinite or NaN")
    assert training.weights.numpy().tolist() == [[4.0, 14.0], [2.0, 22.0]]  # of the last good step
    assert training.count.numpy().tolist() == [4, 2]
    assert int(training.refused.numpy()) == NO_STEP


def test_the_step_may_be_skipped() -> None:
    training = Adding({4: np.nan, 5: np.inf}, skips=True)
    _, second = training.run(3, 4)
    assert second.steps == [3, 4, 5, 6] and second.finite
    assert training.weights.numpy().tolist()[1] == [2.0, 22.0]
    assert training.count.numpy().tolist() == [4, 4]


def test_what_is_not_finite_from_the_start_on_is_no_fault() -> None:
    training = Adding({})
    training.weights.assign([[0.0, 10.0], [0.0, np.inf]])
    assert training.run(0, 3)[1] == Result([0, 1, 2])
    calls = len(training.trained)
    assert training.run(3, 3)[1] == Result([3, 4, 5])
    assert training.trained[calls:] == [(3, 3)]  # and it is not looked for again
    training.guard.start()
    training.weights.assign(np.zeros((2, 2), np.float32))
    training.breaks[7] = np.nan
    assert not training.run(6, 3)[1].finite


def test_a_large_state_is_kept_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "COPIED_BYTES_PER_SECOND", 24 / 0.1)  # 24 bytes take a tenth of a second
    seconds = 0.0
    training = Adding({7: np.inf}, may_repeat=True, clock=lambda: seconds)  # so they are kept every 5 seconds
    kept = []
    keep = training.guard.state.keep

    def keep_and_count() -> list[tf.Tensor] | None:
        kept.append(len(training.trained))
        return keep()

    monkeypatch.setattr(training.guard.state, "keep", keep_and_count)
    for first_step, seconds in ((0, 1.0), (2, 4.9), (4, 6.5)):  # noqa: B007 (the clock reads it)
        training.run(first_step, 2)
    assert kept == [0, 2]  # before the first and the third block
    assert training.run(6, 4)[1] == Result([6], finite=False, cause="the update makes w infinite or NaN")
    assert training.trained[3:] == [(6, 4), (4, 2), (6, 1), (7, 1), (7, 1)]  # the third block once more, too
    assert training.weights.numpy().tolist()[1] == [7.0, 27.0]


def test_a_block_from_elsewhere_keeps_its_own_state() -> None:
    training = Adding({2: np.inf}, may_repeat=True, clock=lambda: 0.0)
    training.breaks = {}
    training.run(5, 2)
    training.weights.assign(np.zeros((2, 2), np.float32))  # as going back to a checkpoint does
    training.breaks = {2: np.inf}
    assert training.run(1, 3)[1].steps == [1]
    assert training.weights.numpy().tolist()[1] == [1.0, 1.0]


def test_a_state_that_there_is_no_room_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residency, "available_bytes", lambda: 10.0)
    training = Adding({5: np.inf})
    assert [result.steps for result in training.run(0, 3)] == [[0, 1, 2]] * 2
    with pytest.raises(DivergedError, match="makes w infinite or NaN in the steps 4 to 6. .* the last good state"):
        training.run(3, 3)


def test_a_learning_rate_is_named_by_its_group_and_schedule(build: Any) -> None:
    model = build.linear([1.0], 0.0)
    kernel, bias = model.trainable_variables
    groups = [build.group([kernel], 0.1, "kernel"), build.group([bias], 0.1, "bias", schedule_name="mine")]
    step = build.step(model, groups)
    rates: Callable[..., str] = lambda *values: rates_not_finite(step, np.array(values, np.float32))  # noqa: E731
    assert rates(0.1, 0.2) == ""
    assert rates(0.1, np.nan) == "optimizer.groups.bias: the learning rate of the schedule mine is nan"
    assert rates(np.inf, 0.1) == "optimizer.groups.kernel: the learning rate is inf"
