"""The loop around a program that only pretends, with a clock that only that program moves."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tfrun.engine.training import loop
from tfrun.engine.training.loop import FIRST_BLOCK_STEPS, Plan, Timing
from tfrun.engine.training.program import BlockResult, Program
from tfrun.errors import DivergedError

SAVING_SECONDS, WAITING_SECONDS = 0.5, 0.125


class Pretend:
    """Step k has the loss k; each step takes a time of its own on the clock, each save half a second.

    What it is given is taken at once, and counts as on the disk once it was waited for.
    """

    names = ["loss", "mae"]
    is_stopped = False

    def __init__(self, plan: Plan, seconds: float = 0.001, max_steps: int = 10**6, step: int = 0):
        self.plan, self.seconds, self.max_steps, self.now = plan, seconds, max_steps, 100.0
        self.stop_at_epoch, self.fail_after, self.interrupt_after = 10**9, 10**9, 10**9
        self.step = step
        self.step_count = SimpleNamespace(numpy=lambda: np.int64(self.step))
        self.blocks: list[int] = []
        self.saved: list[int] = []
        self.on_disk: list[int] = []
        self.shown: list[tuple[int, dict[str, float]]] = []
        self.written: list[tuple[Any, ...]] = []
        self.best_epochs: list[int] = []
        self.timing = Timing()

    def run(self, first_step: int, num_steps: int) -> BlockResult:
        assert first_step == self.step and 1 <= num_steps <= self.max_steps
        self.blocks.append(num_steps)
        per_epoch = self.plan.steps_per_epoch
        last = min(first_step + num_steps, self.fail_after, self.stop_at_epoch * per_epoch)
        self.step, self.now = last, self.now + num_steps * self.seconds
        steps = np.arange(first_step + 1, last + 1, dtype=np.float32)
        ended = np.array([step // per_epoch for step in steps if step % per_epoch == 0], np.float32)
        return BlockResult(
            losses=steps,
            norms=10 * steps,
            learning_rates=np.stack([steps / 2, steps / 4], axis=1),
            train=np.stack([100 * ended, 200 * ended], axis=1),
            val=np.stack([300 * ended, 400 * ended], axis=1),
            improved=ended % 2 == 1,
            finite=first_step + num_steps <= self.fail_after,
            stopped=last == self.stop_at_epoch * per_epoch,
            has_val=True,
        )

    def save(self, step: int) -> None:
        self.saved.append(step)
        self.now += SAVING_SECONDS

    def write(self, first_step: int, result: BlockResult) -> None:
        loop.write(cast(Any, self), self.plan, ["wide", "deep"], self.names, first_step, result)

    def wait(self) -> None:
        self.on_disk = list(self.saved)
        self.now += WAITING_SECONDS

    def write_steps(self, step: int, values: Mapping[str, float]) -> None:
        self.written.append((step, dict(values)))

    def write_epoch(
        self, epoch: int, step: int, values: Mapping[str, Mapping[str, float]], is_best: bool = False
    ) -> None:
        self.written.append((epoch, step, values))
        self.best_epochs += [epoch] * is_best

    def train(self) -> str:
        async def run(first_step: int, num_steps: int) -> BlockResult:
            return self.run(first_step, num_steps)

        training = loop.train(
            cast(Program, self),
            run,
            self.plan,
            self.write,
            lambda step, values, timing: self.shown.append((step, dict(values))),
            self.save,
            self.wait,
            lambda: self.step >= self.interrupt_after,
            self.timing,
            clock=lambda: self.now,
        )
        with pytest.raises(StopIteration) as ended:
            training.send(None)
        return ended.value.value


def test_trains_to_the_last_step_and_saves_it() -> None:
    run = Pretend(Plan(steps_per_epoch=7, last_step=1000))
    assert run.train() == "last step"
    assert sum(run.blocks) == run.step == 1000
    assert run.saved == run.on_disk == [1000]
    assert [step for step, _ in run.shown] == np.cumsum(run.blocks).tolist()


def test_goes_on_from_the_program_s_step() -> None:
    run = Pretend(Plan(steps_per_epoch=10, last_step=100), step=37)
    assert run.train() == "last step"
    assert sum(run.blocks) == 63


def test_pauses_on_the_way_and_not_at_the_end() -> None:
    run = Pretend(Plan(steps_per_epoch=10, last_step=100, pause_step=40), step=10)
    assert run.train() == "paused"
    assert run.step == 40 and run.on_disk == [40]
    run = Pretend(Plan(steps_per_epoch=10, last_step=100, pause_step=120), step=40)
    assert run.train() == "last step" and run.step == 100


def test_nothing_is_left_to_do() -> None:
    run = Pretend(Plan(steps_per_epoch=10, last_step=30), step=30)
    assert run.train() == "last step"
    assert run.blocks == [] and run.saved == [30]


def test_blocks_grow_to_a_bar_that_moves() -> None:
    run = Pretend(Plan(steps_per_epoch=10**6, last_step=20_000), seconds=0.0001)
    run.train()
    assert run.blocks[0] == FIRST_BLOCK_STEPS
    assert max(run.blocks) == pytest.approx(loop.BLOCK_SECONDS / 0.0001, abs=1)
    assert all(later <= 8 * earlier for earlier, later in zip(run.blocks, run.blocks[1:], strict=False))


def test_blocks_of_slow_steps_are_short() -> None:
    run = Pretend(Plan(steps_per_epoch=1000, last_step=100), seconds=1.0)
    run.train()
    # the first holds the compilation, so the second is the first that tells what a step takes
    assert run.blocks == [FIRST_BLOCK_STEPS] * 2 + [1] * (100 - 2 * FIRST_BLOCK_STEPS)


def test_blocks_are_no_longer_than_the_program_takes() -> None:
    run = Pretend(Plan(steps_per_epoch=10**6, last_step=5000), seconds=1e-6, max_steps=300)
    run.train()
    assert max(run.blocks) == 300


def test_saves_by_steps() -> None:
    run = Pretend(Plan(steps_per_epoch=10, last_step=95, save_every_steps=(30, 40)))
    run.train()
    assert run.saved == [30, 40, 60, 80, 90, 95]


def test_the_last_step_is_saved_once_more_at_most() -> None:
    run = Pretend(Plan(steps_per_epoch=10, last_step=90, save_every_steps=(30,)))
    run.train()
    assert run.saved == [30, 60, 90, 90]  # checkpoints.save takes the second as done


def test_saves_by_seconds() -> None:
    plan = Plan(steps_per_epoch=10**6, last_step=100, save_every_seconds=10.0)
    run = Pretend(plan, seconds=1.0, max_steps=4)
    run.train()
    assert run.saved == [*range(10, 101, 10), 100]  # what saving takes is not counted


def test_ends_after_max_seconds() -> None:
    run = Pretend(Plan(steps_per_epoch=10, last_step=10**9, max_seconds=5.0), seconds=0.25, max_steps=2)
    assert run.train() == "max_seconds"
    assert run.step == 20 and run.saved == [20]


def test_early_stopping() -> None:
    run = Pretend(Plan(steps_per_epoch=10, last_step=1000))
    run.stop_at_epoch = 4
    assert run.train() == "early stopping"
    assert run.step == 40 and run.saved == [40]


def test_a_run_that_early_stopping_ended_stays_ended() -> None:
    run = Pretend(Plan(steps_per_epoch=10, last_step=1000), step=40)
    run.is_stopped = True
    assert run.train() == "early stopping"
    assert run.blocks == [] and run.saved == [40]


def test_interruption_saves_after_the_block() -> None:
    run = Pretend(Plan(steps_per_epoch=1, last_step=10**6), max_steps=25)
    run.interrupt_after = 60
    assert run.train() == "interrupted"
    assert run.blocks == [1, 1, 8, 25, 25] and run.saved == run.on_disk == [60]


def test_divergence_saves_the_last_good_step() -> None:
    run = Pretend(Plan(steps_per_epoch=10, last_step=1000, log_every_steps=1))
    run.fail_after = 23
    with pytest.raises(DivergedError, match=r"not finite at step 24, epoch 3\. The weights of step 23 are saved"):
        run.train()
    assert run.saved == run.on_disk == [23]  # what the message says is true when it is raised
    assert [entry[0] for entry in run.written if len(entry) == 2] == list(range(1, 24))
    assert run.shown[-1][0] == 23


def test_divergence_at_the_first_step() -> None:
    run = Pretend(Plan(steps_per_epoch=10, last_step=1000))
    run.fail_after = 0
    with pytest.raises(DivergedError, match="not finite at step 1, epoch 1"):
        run.train()
    assert run.saved == [0] and run.written == []


@pytest.mark.parametrize("max_steps", [1, 3, 7, 50])
def test_what_is_written_does_not_depend_on_the_blocks(max_steps: int) -> None:
    run = Pretend(Plan(steps_per_epoch=5, last_step=12, log_every_steps=4), max_steps=max_steps)
    run.train()

    def epoch(number: int) -> tuple[Any, ...]:
        train, val = {"loss": 100.0 * number, "mae": 200.0 * number}, {"loss": 300.0 * number, "mae": 400.0 * number}
        return number, 5 * number, {"train": train, "val": val}

    def step(number: int) -> tuple[Any, ...]:
        return number, {"loss": number, "grad_norm": 10 * number, "lr/wide": number / 2, "lr/deep": number / 4}

    assert run.written == [step(4), epoch(1), step(8), epoch(2), step(12)]
    assert run.best_epochs == [1]


def test_a_step_s_point_comes_before_its_epoch_s() -> None:
    run = Pretend(Plan(steps_per_epoch=4, last_step=4, log_every_steps=2))
    run.train()
    assert [len(entry) for entry in run.written] == [2, 2, 3]


def test_without_a_logger_only_epochs_are_written() -> None:
    run = Pretend(Plan(steps_per_epoch=5, last_step=12))
    run.train()
    assert [entry[0] for entry in run.written] == [1, 2]


def test_what_is_shown() -> None:
    run = Pretend(Plan(steps_per_epoch=10, last_step=25), max_steps=10)
    run.train()
    assert run.shown == [
        (1, {"train/loss": 1.0}),
        (2, {"train/loss": 2.0}),
        (10, {"train/loss": 100.0, "train/mae": 200.0, "val/loss": 300.0, "val/mae": 400.0}),
        (20, {"train/loss": 200.0, "train/mae": 400.0, "val/loss": 600.0, "val/mae": 800.0}),
        (25, {"train/loss": 25.0, "train/mae": 400.0, "val/loss": 600.0, "val/mae": 800.0}),
    ]


def test_timing_is_of_training_alone() -> None:
    plan = Plan(steps_per_epoch=10, last_step=100, save_every_steps=(50,))
    run = Pretend(plan, seconds=0.25, max_steps=10)
    run.train()
    # the first block holds the compilation; two saves on the cadence and one at the end, which is waited for
    assert run.timing.compile_seconds == 1 * 0.25
    assert run.timing.train_seconds == 99 * 0.25
    assert run.timing.checkpoint_seconds == 3 * SAVING_SECONDS + WAITING_SECONDS
    assert run.timing.steps_per_second == 4.0


def test_a_program_that_was_compiled_before_is_timed_from_its_first_block() -> None:
    run = Pretend(Plan(steps_per_epoch=10, last_step=100), seconds=0.25, max_steps=10)
    run.timing.compile_seconds = 3.0
    run.train()
    assert (run.timing.compile_seconds, run.timing.train_seconds) == (3.0, 25.0)


def test_no_rate_before_a_timed_block() -> None:
    assert Timing().steps_per_second is None


def test_the_seconds_of_a_run_that_goes_on_are_summed_up() -> None:
    earlier = {"import_seconds": 5.0, "train_seconds": 1.5, "eval_seconds": None, "steps_per_second": 7.0}
    timing = Timing(compile_seconds=3.0, train_seconds=0.5, eval_seconds=0.25, timed_steps=100)
    assert timing.added_to(earlier) == {
        "compile_seconds": 3.0,
        "train_seconds": 2.0,
        "eval_seconds": 0.25,
        "checkpoint_seconds": 0.0,
        "steps_per_second": 200.0,  # of this process
    }


def test_block_steps_properties() -> None:
    """Blocks end where Python has something to do, never earlier than need be, and always go on."""
    generator = np.random.default_rng(0)
    for _ in range(2000):
        per_epoch, last = (int(n) for n in generator.integers(1, 60, 2))
        every = tuple(int(n) for n in generator.integers(1, 40, generator.integers(0, 3)))
        plan = Plan(per_epoch, last, save_every_steps=every)
        step, wanted = int(generator.integers(0, last)), int(generator.integers(0, 100))
        end = step + plan.block_steps(step, wanted)
        assert step < end <= last
        assert end - step <= max(1, wanted)
        passed = range(step + 1, end)
        assert not any(middle % own == 0 for middle in passed for own in every)
        if any(middle % per_epoch == 0 for middle in passed):
            assert end % per_epoch == 0 or end in {own * (step // own + 1) for own in every}


@pytest.mark.parametrize(
    ("step", "wanted", "num_steps"),
    [
        (0, 5, 5),  # inside an epoch
        (0, 10, 10),  # a whole one
        (0, 37, 30),  # whole ones
        (7, 5, 3),  # to the epoch's end
        (7, 15, 13),  # to the next one's end
        (0, 0, 1),  # at least a step
        (90, 100, 5),  # to the last step
    ],
)
def test_block_steps_by_hand(step: int, wanted: int, num_steps: int) -> None:
    assert Plan(steps_per_epoch=10, last_step=95).block_steps(step, wanted) == num_steps
