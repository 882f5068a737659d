"""The choice between XLA's loop and TensorFlow's, on a clock that only a fake program moves."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training import modes
from tfrun.engine.training.mode_cache import ModeCache
from tfrun.engine.training.modes import Choice, choose
from tfrun.engine.training.plan import Plan
from tfrun.engine.training.program import Program, XlaError
from tfrun.engine.training.state import State

DENSE = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
CONVOLVING = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 3), keras.layers.Flatten()])
COMPILE_SECONDS = 2.0


class FakeProgram:
    """A program whose steps change the state and take a given time on the clock, in each mode another one."""

    max_steps = 100
    ids_per_step = 0
    steps_of_first_stage = np.inf

    def __init__(self, seconds: dict[str, float], clock: list[float], weight: tf.Variable):
        self.mode, self.seconds, self.clock, self.weight = "eager", seconds, clock, weight
        self.ran: set[str] = set()

    def run(self, first_step: int, num_steps: int) -> None:
        assert first_step == 0 and num_steps <= self.max_steps
        seconds = self.seconds.get(self.mode, 0.001)
        if seconds == np.inf:
            raise XlaError("an operation that XLA lacks")
        self.clock[0] += num_steps * seconds + (0.0 if self.mode in self.ran else COMPILE_SECONDS)
        self.ran.add(self.mode)
        self.weight.assign_add(1.0)

    @property
    def has_tables(self) -> bool:
        return self.ids_per_step > 0

    def compile(self) -> None:
        if self.seconds.get(self.mode) == np.inf:
            raise XlaError("an operation that XLA lacks")
        self.ran.add(self.mode)


class Pick:
    """Calls choose() for a program whose steps take the given seconds, and checks that the state is restored."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.clock, self.folder = [0.0], folder
        self.ran: set[str] = set()
        self.seconds = 0.0
        monkeypatch.setattr("time.perf_counter", lambda: self.clock[0])

    def __call__(
        self,
        compile: str = "auto",
        model: keras.Model = DENSE,
        planned_steps: int | None = 10**6,
        planned_seconds: float | None = None,
        batch_size: int = 32,
        num_replicas: int = 1,
        ids_per_step: int = 0,
        **seconds: float,
    ) -> Choice:
        weight, before = tf.Variable(5.0), self.clock[0]
        program = FakeProgram(seconds, self.clock, weight)
        program.ids_per_step = ids_per_step
        cache = ModeCache({"batch_size": batch_size}, self.folder)
        plan = Plan(steps_per_epoch=100, last_step=planned_steps, max_seconds=planned_seconds)
        choice = choose(
            compile,
            plan,
            program=cast(Program, program),
            state=State({"model": [weight]}),
            model=model,
            num_replicas=num_replicas,
            cache=lambda: cache,
        )
        assert float(weight.numpy()) == 5.0
        self.ran, self.seconds = program.ran, self.clock[0] - before
        return choice


@pytest.fixture
def pick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pick:
    return Pick(tmp_path / "choices", monkeypatch)


@pytest.mark.parametrize(
    ("compile", "mode"),
    [
        ("xla", "xla_loop"),
        ("graph", "graph_loop"),
        ("eager", "eager"),
        ("xla_loop", "xla_loop"),  # of a resumed run
    ],
)
def test_a_mode_of_the_config_is_not_measured(pick: Pick, compile: str, mode: str) -> None:
    choice = pick(compile)
    assert (choice.mode, choice.compile_seconds, pick.ran) == (mode, 0.0, set())


def test_the_faster_mode_is_chosen(pick: Pick) -> None:
    choice = pick(xla_loop=0.0001, graph_loop=0.0005)
    assert (choice.mode, choice.why) == ("xla_loop", "measured: xla_loop 10,000 steps/s, graph_loop 2,000 steps/s")
    assert choice.compile_seconds > 2 * COMPILE_SECONDS
    assert pick(xla_loop=0.001, graph_loop=0.0005, batch_size=64).mode == "graph_loop"


def test_a_tie_always_gives_the_same_mode(pick: Pick) -> None:
    for k, graph in enumerate((0.0008, 0.001, 0.0012)):
        assert pick(xla_loop=0.001, graph_loop=graph, batch_size=k).mode == "xla_loop"


def test_a_measured_mode_is_remembered(pick: Pick) -> None:
    first = pick(xla_loop=0.001, graph_loop=0.0005)
    again = pick(xla_loop=0.0005, graph_loop=0.001)  # a new measurement would say the opposite
    assert (again.mode, again.why, again.compile_seconds) == ("graph_loop", first.why, 0.0)
    assert pick.ran == set()
    assert pick(xla_loop=0.0005, graph_loop=0.001, batch_size=64).mode == "xla_loop"  # another program


def test_a_comparison_costs_at_most_a_twentieth_of_the_run(pick: Pick) -> None:
    # 10,000 steps of 0.1 ms are a second of training: only XLA's compilation is worth it
    choice = pick(planned_steps=10_000, xla_loop=0.0001)
    assert choice.mode == "xla_loop" and pick.ran == {"xla_loop"}
    assert "too short to compare" in choice.why and pick.seconds - COMPILE_SECONDS < 0.05 * 1.0
    assert pick(planned_steps=10_000, xla_loop=0.0001).why == choice.why  # which is not remembered as measured
    choice = pick(planned_seconds=5.0, xla_loop=0.0001)
    assert "at most 5 s" in choice.why


def test_a_step_that_xla_can_not_compile(pick: Pick) -> None:
    choice = pick(xla_loop=np.inf)
    assert choice.mode == "graph_loop" and "XLA can't compile" in choice.why


def test_a_short_run_is_not_compiled_by_xla(pick: Pick) -> None:
    choice = pick(planned_steps=modes.WORTH_XLA_STEPS - 1)
    assert choice.mode == "graph_loop" and pick.ran == set()


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="a GPU runs convolutions under XLA")
def test_tables_are_compiled_by_xla_without_a_trial_if_the_run_updates_enough_rows(pick: Pick) -> None:
    assert pick(planned_steps=4_999, ids_per_step=2_000).mode == "graph_loop"
    assert pick(planned_steps=5_000, ids_per_step=2_000).mode == "xla_loop"
    assert pick(planned_steps=None, ids_per_step=1).why == "tables are updated by rows"
    assert pick(planned_steps=1_000, ids_per_step=10_000, xla_loop=np.inf).why == "XLA can't compile the step"


def test_convolutions_on_a_cpu_run_in_the_graph_loop(pick: Pick) -> None:
    choice = pick(model=CONVOLVING)
    assert choice.mode == "graph_loop" and "oneDNN" in choice.why


def test_several_replicas_run_in_the_graph_loop(pick: Pick) -> None:
    choice = pick(num_replicas=2)
    assert (choice.mode, pick.ran) == ("graph_loop", set())


def test_a_run_without_a_last_step_is_measured(pick: Pick) -> None:
    assert pick(planned_steps=None, xla_loop=0.001, graph_loop=0.0005).mode == "graph_loop"


def test_the_rate_is_that_of_the_fastest_of_three_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, blocks = [0.0], []

    def train(num_steps: int) -> None:
        blocks.append(num_steps)
        clock[0] += {11: 0.1, 12: 0.08}.get(len(blocks), 0.001 * num_steps)  # noise in the last two

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    assert modes.steps_per_second(train, 1000) == pytest.approx(1000)
    assert blocks == [1, 1, 1, 4, 4, 4, 16, 16, 16, 64, 64, 64]  # until a block takes 50 ms


def test_a_run_is_too_short_if_a_comparison_takes_a_twentieth_of_it() -> None:
    assert modes.is_too_short(23.9, compile_seconds=0.1) and not modes.is_too_short(24.1, compile_seconds=0.1)
    assert modes.is_too_short(59.9, compile_seconds=3.0) and not modes.is_too_short(60.1, compile_seconds=3.0)
