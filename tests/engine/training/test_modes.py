from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training import modes
from tfrun.engine.training.loop import Plan
from tfrun.engine.training.mode_cache import Choices
from tfrun.engine.training.modes import Choice, choose
from tfrun.engine.training.program import Program, XlaError
from tfrun.engine.training.state import State

DENSE = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
CONVOLVING = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 3), keras.layers.Flatten()])
ONE_DEVICE = tf.distribute.get_strategy()
COMPILING = 2.0


class Pretend:
    """A program whose steps take a time of their own on the clock and change the state."""

    max_steps = 100

    def __init__(self, seconds: dict[str, float], clock: list[float], weight: tf.Variable):
        self.mode, self.seconds, self.clock, self.weight = "eager", seconds, clock, weight
        self.ran: set[str] = set()

    def run(self, first_step: int, num_steps: int) -> None:
        assert first_step == 0 and num_steps <= self.max_steps
        seconds = self.seconds.get(self.mode, 0.001)
        if seconds == np.inf:
            raise XlaError("an operation that XLA lacks")
        self.clock[0] += num_steps * seconds + (0.0 if self.mode in self.ran else COMPILING)
        self.ran.add(self.mode)
        self.weight.assign_add(1.0)


class Pick:
    """Calls choose() for a program that takes so many seconds a step, and checks that the state is put back."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.clock, self.folder = [0.0], folder
        self.ran: set[str] = set()
        self.seconds = 0.0
        monkeypatch.setattr("time.perf_counter", lambda: self.clock[0])

    def __call__(
        self,
        compile: str = "auto",
        model: keras.Model = DENSE,
        planned_steps: int = 10**6,
        planned_seconds: float | None = None,
        batch_size: int = 32,
        **seconds: float,
    ) -> Choice:
        weight, before = tf.Variable(5.0), self.clock[0]
        program = Pretend(seconds, self.clock, weight)
        state, known = State({"model": [weight]}), Choices({"batch_size": batch_size}, self.folder)
        plan = Plan(steps_per_epoch=100, last_step=planned_steps, max_seconds=planned_seconds)
        choice = choose(compile, ONE_DEVICE, model, plan, cast(Program, program), state, lambda: known)
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
        ("xla_loop", "xla_loop"),
    ],  # the last: a resumed run
)
def test_a_mode_that_was_asked_for(pick: Pick, compile: str, mode: str) -> None:
    choice = pick(compile)
    assert (choice.mode, choice.compile_seconds, pick.ran) == (mode, 0.0, set())


def test_the_faster_one_is_measured(pick: Pick) -> None:
    choice = pick(xla_loop=0.0001, graph_loop=0.0005)
    assert (choice.mode, choice.why) == ("xla_loop", "measured: xla_loop 10,000 steps/s, graph_loop 2,000 steps/s")
    assert choice.compile_seconds > 2 * COMPILING
    assert pick(xla_loop=0.001, graph_loop=0.0005, batch_size=64).mode == "graph_loop"


def test_a_tie_always_falls_the_same_way(pick: Pick) -> None:
    for k, graph in enumerate((0.0008, 0.001, 0.0012)):
        assert pick(xla_loop=0.001, graph_loop=graph, batch_size=k).mode == "xla_loop"


def test_what_was_measured_is_not_measured_again(pick: Pick) -> None:
    first = pick(xla_loop=0.001, graph_loop=0.0005)
    again = pick(xla_loop=0.0005, graph_loop=0.001)  # whatever it would say now
    assert (again.mode, again.why, again.compile_seconds) == ("graph_loop", first.why, 0.0)
    assert pick.ran == set()
    assert pick(xla_loop=0.0005, graph_loop=0.001, batch_size=64).mode == "xla_loop"  # another program


def test_a_comparison_costs_at_most_a_twentieth_of_the_run(pick: Pick) -> None:
    # 10,000 steps at 0.1 ms are a second of training: nothing but XLA's own compilation is worth it
    choice = pick(planned_steps=10_000, xla_loop=0.0001)
    assert choice.mode == "xla_loop" and pick.ran == {"xla_loop"}
    assert "too short to compare" in choice.why and pick.seconds - COMPILING < 0.05 * 1.0
    assert pick(planned_steps=10_000, xla_loop=0.0001).why == choice.why  # and was not noted down as measured
    choice = pick(planned_seconds=5.0, xla_loop=0.0001)
    assert "at most 5 s" in choice.why


def test_what_xla_can_t_compile(pick: Pick) -> None:
    choice = pick(xla_loop=np.inf)
    assert choice.mode == "graph_loop" and "XLA can't compile" in choice.why


def test_a_short_run_is_not_worth_compiling(pick: Pick) -> None:
    choice = pick(planned_steps=modes.WORTH_XLA_STEPS - 1)
    assert choice.mode == "graph_loop" and pick.ran == set()


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="it is about CPUs")
def test_convolutions_on_a_cpu(pick: Pick) -> None:
    choice = pick(model=CONVOLVING)
    assert choice.mode == "graph_loop" and "oneDNN" in choice.why


def test_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    assert modes.why_stream("stream", 1000) == "data.residency=stream"
    assert modes.why_stream("auto", 1000) is None
    monkeypatch.setattr(modes, "room_bytes", lambda: 2**20)
    told = modes.why_stream("auto", 3 * 2**20)
    assert told is not None and told.startswith("3 MiB of examples don't fit")
    assert modes.why_stream("device", 3 * 2**20) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"mode": 1}', b"\xff"])
def test_a_damaged_answer_is_no_answer(tmp_path: Path, content: bytes) -> None:
    choices = Choices({"batch_size": 32}, tmp_path)
    choices.write({"mode": "xla_loop", "why": "measured"})
    assert choices.read() == {"mode": "xla_loop", "why": "measured"}
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert choices.read() is None


def test_answers_that_can_t_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    choices: Any = Choices({}, tmp_path / "file" / "choices")
    choices.write({"mode": "xla_loop", "why": "measured"})
    assert choices.read() is None


def test_each_answer_is_for_one_program(tmp_path: Path) -> None:
    Choices({"batch_size": 32, "layers": ["Dense"]}, tmp_path).write({"mode": "xla_loop", "why": "measured"})
    assert Choices({"layers": ["Dense"], "batch_size": 32}, tmp_path).read()
    assert Choices({"layers": ["Dense"], "batch_size": 33}, tmp_path).read() is None
