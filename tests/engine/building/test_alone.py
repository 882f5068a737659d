"""How a run that is alone is driven: by hand, and over the pieces of a small run."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, cast

import pytest

from tfrun.engine.building import threads
from tfrun.engine.building.alone import (
    AloneDriver,
    Engine,
    Ready,
    Request,
    block_seconds,
    drive_alone,
    finish_alone,
    respond,
)
from tfrun.engine.building.reuse import Reuse
from tfrun.engine.training.loop import Block


def test_a_run_is_driven_to_its_exit_code() -> None:
    answers: list[Any] = []

    def run() -> Generator[Request, Any, int]:
        answers.append((yield Block(0, 5)))
        answers.append((yield Block(5, 2)))
        return 3

    generator = run()
    driver = cast(AloneDriver, lambda block: block.num_steps)
    assert finish_alone(generator, next(generator), driver=driver) == 3
    assert answers == [5, 2]


def test_a_run_that_ends_at_once_needs_no_engine() -> None:
    def run() -> Generator[Request, Any, int]:
        yield from ()
        return 0

    assert drive_alone(run(), Reuse()) == 0


@pytest.mark.parametrize(("num_bytes", "seconds"), [(10_000, 0.15), (2**23, 0.5)])
def test_blocks_of_a_large_state_are_longer(num_bytes: int, seconds: float) -> None:
    assert block_seconds(num_bytes) == seconds


def test_an_error_on_the_way_is_raised_inside_the_run() -> None:
    def run() -> Generator[Request, Any, int]:
        try:
            yield Block(0, 1)
        except ZeroDivisionError:
            yield Block(9, 9)  # as a run that records the error
        return 0

    generator = run()
    next(generator)
    assert respond(generator, lambda: 1 // 0) == Block(9, 9)
    with pytest.raises(ZeroDivisionError):
        respond(generator, lambda: 1 // 0)


def engine_of(small: Any, *words: str, note: str = "", resumed: Any = None, reuse: Reuse | None = None) -> Engine:
    driver = AloneDriver(reuse or Reuse(), note=note)
    engine = driver(Ready(small.pieces(*words), resumed or {}))
    assert isinstance(engine, Engine)
    return engine


def test_an_engine_is_described_for_run_json(small: Any) -> None:
    engine = engine_of(small, "strategy=cpu", note="not together: one run")
    assert engine.program.mode == "eager"
    assert engine.description == {
        "mode": "eager",
        "why": "trainer.compile=eager; not together: one run",
        "loop": "eager",
        "residency": "device",
        "devices": engine.description["devices"],
        "threads": threads.num_threads(),
    }
    assert "CPU:0" in engine.description["devices"]
    assert engine.sizer.num_steps == 1


def test_a_run_may_stream_its_examples(small: Any) -> None:
    engine = engine_of(small, "data.residency=stream")
    assert (engine.description["mode"], engine.description["residency"]) == ("stream", "stream")
    assert engine.description["why"] == "data.residency=stream; trainer.compile=eager"


def test_a_resumed_run_keeps_its_mode(small: Any) -> None:
    before = {"mode": "eager", "why": "measured", "loop": "eager", "residency": "device", "devices": "GPU:9"}
    engine = engine_of(small, "trainer.compile=auto", resumed=before)
    assert engine.program.mode == "eager"
    assert engine.description["why"] == "measured"
    assert engine.description["devices"] != "GPU:9"


def test_a_run_that_was_trained_with_others_is_resumed_alone(small: Any) -> None:
    before = {"mode": "vectorized", "why": "2 runs", "loop": "eager", "residency": "device", "devices": ""}
    engine = engine_of(small, resumed=before)
    assert (engine.description["mode"], engine.program.mode) == ("eager", "eager")
    before["loop"] = "graph_loop"
    engine = engine_of(small, resumed=before)
    assert engine.program.mode == "graph_loop"
    assert engine.description["why"] == "the run was trained in this mode before it was resumed"


def test_blocks_are_trained_and_timed(small: Any) -> None:
    driver = AloneDriver(Reuse())
    engine = driver(Ready(small.pieces()))
    result = driver(Block(0, 2))
    assert isinstance(engine, Engine) and not isinstance(result, Engine)
    assert (len(result.losses), engine.program.step) == (2, 2)
    assert engine.sizer.num_steps <= 8
