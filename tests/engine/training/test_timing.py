"""Where the time of the training thread went, with a clock moved by hand."""

from __future__ import annotations

from tfrun.engine.training.timing import Timing


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_block_counts_as_compiling() -> None:
    timing = Timing()
    timing.add_block(1, 2.5)
    assert (timing.compile_seconds, timing.train_seconds) == (2.5, 0.0)
    timing.add_block(10, 2.0)
    timing.add_block(1, 4.0, compiled=True)  # of a new stage
    timing.add_block(30, 3.0)
    assert (timing.train_seconds, timing.steps_per_second) == (5.0, 8.0)


def test_there_is_no_rate_before_a_block_is_timed() -> None:
    timing = Timing()
    timing.add_block(1, 2.5)  # it compiles
    assert timing.steps_per_second is None


def test_a_compiled_program_is_timed_from_its_first_block() -> None:
    timing = Timing()
    timing.compile_seconds = 3.0
    timing.add_block(10, 2.0)
    assert (timing.compile_seconds, timing.train_seconds) == (3.0, 2.0)


def test_contexts_add_the_time_spent_in_them() -> None:
    clock = Clock()
    timing = Timing(clock)
    for seconds in (1.0, 0.5):
        with timing.saving():
            clock.now += seconds
    with timing.evaluating():
        clock.now += 4.0
    assert (timing.checkpoint_seconds, timing.eval_seconds) == (1.5, 4.0)


def test_the_seconds_of_a_resumed_run_are_added_up() -> None:
    timing = Timing()
    timing.compile_seconds, timing.eval_seconds = 3.0, 0.25
    timing.add_block(100, 0.5)
    earlier = {"import_seconds": 5.0, "train_seconds": 1.5, "eval_seconds": None, "steps_per_second": 7.0}
    assert timing.added_to(earlier) == {
        "compile_seconds": 3.0,
        "train_seconds": 2.0,
        "eval_seconds": 0.25,
        "checkpoint_seconds": 0.0,
        "steps_per_second": 200.0,  # of this process alone
    }
