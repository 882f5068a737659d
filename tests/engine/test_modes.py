from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine import modes
from tfrun.engine.checkpoints import State
from tfrun.engine.modes import Choice, choose
from tfrun.engine.program import Program, XlaError
from tfrun.errors import ConfigError

DENSE = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
CONVOLVING = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 3), keras.layers.Flatten()])
ONE_DEVICE = tf.distribute.get_strategy()


class Pretend:
    """A program whose steps take a time of their own on the clock and change the state."""

    max_steps = 100

    def __init__(self, mode: str, seconds: float, clock: list[float], weight: tf.Variable):
        self.mode, self.seconds, self.clock, self.weight = mode, seconds, clock, weight
        self.ran = 0

    def run(self, first_step: int, num_steps: int) -> None:
        assert first_step == 0 and num_steps <= self.max_steps
        if self.seconds == np.inf:
            raise XlaError("an operation that XLA lacks")
        self.ran += num_steps
        self.clock[0] += num_steps * self.seconds
        self.weight.assign_add(1.0)


@pytest.fixture
def pick(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Choice]:
    """Calls choose() for programs that take so many seconds a step, and checks that the state is put back."""

    def call(
        compile: str = "auto",
        residency: str = "auto",
        data_bytes: int = 1000,
        model: keras.Model = DENSE,
        planned_steps: int = 10**6,
        seconds: dict[str, float] | None = None,
    ) -> Choice:
        clock, weight = [0.0], tf.Variable(5.0)
        monkeypatch.setattr("time.perf_counter", lambda: clock[0])
        times = seconds or {}

        def make(mode: str) -> Program:
            return cast(Program, Pretend(mode, times.get(mode, 0.001), clock, weight))

        def state(_program: Program) -> State:
            return State({"model": [weight]})

        choice = choose(compile, residency, data_bytes, ONE_DEVICE, model, planned_steps, make, state)
        assert float(weight.numpy()) == 5.0
        assert choice.program.mode == choice.mode
        return choice

    return call


@pytest.mark.parametrize(
    ("compile", "mode"),
    [
        ("xla", "xla_loop"),
        ("graph", "graph_loop"),
        ("eager", "eager"),
        ("xla_loop", "xla_loop"),
    ],  # the last: a resumed run
)
def test_a_mode_that_was_asked_for(pick: Callable[..., Choice], compile: str, mode: str) -> None:
    choice = pick(compile)
    assert (choice.mode, choice.compile_seconds) == (mode, 0.0)
    assert cast(Any, choice.program).ran == 0


def test_the_faster_one_is_measured(pick: Callable[..., Choice]) -> None:
    choice = pick(seconds={"xla_loop": 0.0001, "graph_loop": 0.0005})
    assert (choice.mode, choice.why) == ("xla_loop", "measured: xla_loop 10,000 steps/s, graph_loop 2,000 steps/s")
    assert choice.compile_seconds > 0
    assert pick(seconds={"xla_loop": 0.001, "graph_loop": 0.0005}).mode == "graph_loop"


def test_a_tie_always_falls_the_same_way(pick: Callable[..., Choice]) -> None:
    for graph in (0.0008, 0.001, 0.0012):
        assert pick(seconds={"xla_loop": 0.001, "graph_loop": graph}).mode == "xla_loop"


def test_what_xla_can_t_compile(pick: Callable[..., Choice]) -> None:
    choice = pick(seconds={"xla_loop": np.inf})
    assert choice.mode == "graph_loop" and "XLA can't compile" in choice.why


def test_a_short_run_is_not_worth_measuring(pick: Callable[..., Choice]) -> None:
    choice = pick(planned_steps=modes.WORTH_MEASURING_STEPS - 1)
    assert choice.mode == "graph_loop" and cast(Any, choice.program).ran == 0


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="it is about CPUs")
def test_convolutions_on_a_cpu(pick: Callable[..., Choice]) -> None:
    choice = pick(model=CONVOLVING)
    assert choice.mode == "graph_loop" and "oneDNN" in choice.why


def test_streams(pick: Callable[..., Choice], monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick(residency="stream").mode == "stream"
    assert pick(residency="stream", compile="graph").mode == "stream"
    for compile in ("xla", "eager"):
        with pytest.raises(ConfigError, match=f"a stream needs auto or graph. Received: {compile} "):
            pick(residency="stream", compile=compile)
    monkeypatch.setattr(modes, "_room_bytes", lambda: 2**20)
    choice = pick(data_bytes=3 * 2**20)
    assert choice.mode == "stream" and choice.why.startswith("3 MiB of examples don't fit")
    assert pick(data_bytes=3 * 2**20, residency="device", compile="graph").mode == "graph_loop"
