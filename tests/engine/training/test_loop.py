"""The loop between blocks, driven by hand: step k has the loss k, and a clock moves only with blocks and saves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tfrun.engine.training import loop
from tfrun.engine.training.block_result import BlockResult
from tfrun.engine.training.loop import Block, BlockSizer, Observer
from tfrun.engine.training.plan import Plan
from tfrun.engine.training.timing import Timing
from tfrun.errors import DivergedError

SAVING_SECONDS, WAITING_SECONDS = 0.5, 0.125


def block_result(block: Block, per_epoch: int, *, finite: bool = True, stopped: bool = False) -> BlockResult:
    """Returns the result of a block whose epoch k has the losses 100·k in training and 300·k in validation."""
    steps = np.arange(block.first_step + 1, block.first_step + block.num_steps + 1, dtype=np.float32)
    ended = np.array([step // per_epoch for step in steps if step % per_epoch == 0], np.float32)
    return BlockResult(
        losses=steps,
        norms=steps,
        learning_rates=steps[:, None],
        train=100 * ended[:, None],
        val=300 * ended[:, None],
        improved=ended > 0,
        finite=finite,
        stopped=stopped,
        has_val=True,
    )


class Watcher(Observer):
    """Notes what it sees. A save takes half a second on the clock; waiting for the disk takes less."""

    def __init__(self, clock: list[float]):
        self.clock = clock
        self.events: list[tuple[Any, ...]] = []
        self.saved: list[int] = []
        self.on_disk: list[int] = []

    def on_block(self, first_step: int, result: BlockResult) -> None:
        self.events.append(("block", first_step, len(result.losses)))

    def on_epoch(self, epoch: int, step: int, values: Mapping[str, float]) -> None:
        self.events.append(("epoch", epoch, step, dict(values)))

    def on_save(self, step: int) -> None:
        self.events.append(("save", step))
        self.saved.append(step)
        self.clock[0] += SAVING_SECONDS

    def on_end(self) -> None:
        self.on_disk = list(self.saved)
        self.clock[0] += WAITING_SECONDS


class Run:
    """A run in blocks of at most `block_steps`; a step takes `seconds` on the clock."""

    def __init__(
        self,
        plan: Plan,
        *,
        step: int = 0,
        block_steps: int = 10,
        seconds: float = 0.001,
        roll_back: Callable[[int], int] | None = None,
    ):
        self.clock = [100.0]
        self.plan, self.seconds, self.roll_back = plan, seconds, roll_back
        self.timing = Timing(lambda: self.clock[0])
        self.watcher = Watcher(self.clock)
        self.position = SimpleNamespace(step=step, is_stopped=False)
        self.sizer = BlockSizer(1.0, first_steps=block_steps, max_steps=block_steps)
        self.stop_at, self.fail_after, self.interrupt_after = 10**9, 10**9, 10**9
        self.blocks: list[int] = []
        self.step = step

    def train(self) -> str:
        """Sends the result of each block; returns why training ended."""
        training = loop.train(
            self.position,
            self.plan,
            sizer=self.sizer,
            observers=[self.watcher],
            timing=self.timing,
            should_stop=lambda: self.step >= self.interrupt_after,
            roll_back=self.roll_back,
        )
        try:
            block = next(training)
            while True:
                block = training.send(self.result(block))
        except StopIteration as end:
            return end.value

    def result(self, block: Block) -> BlockResult:
        """Trains a block up to the step that fails or stops the run, if it contains one."""
        self.blocks.append(block.num_steps)
        self.clock[0] += block.num_steps * self.seconds
        last = block.first_step + block.num_steps
        self.step = min(last, self.fail_after, self.stop_at)
        trained = Block(block.first_step, self.step - block.first_step)
        return block_result(
            trained,
            self.plan.steps_per_epoch,
            finite=last <= self.fail_after,
            stopped=self.step == self.stop_at,
        )


def test_a_run_trains_to_its_last_step_and_saves_it() -> None:
    run = Run(Plan(steps_per_epoch=7, last_step=100), block_steps=30)
    assert run.train() == "last step"
    assert run.blocks == [28, 28, 28, 14, 2]  # whole epochs, then the rest
    assert run.watcher.saved == run.watcher.on_disk == [100]


def test_a_run_continues_from_the_step_of_its_state() -> None:
    run = Run(Plan(steps_per_epoch=10, last_step=100), step=37)
    assert run.train() == "last step"
    assert run.blocks == [3, *[10] * 6]


def test_a_run_pauses_before_its_last_step() -> None:
    run = Run(Plan(steps_per_epoch=10, last_step=100, pause_step=40), step=10)
    assert run.train() == "paused"
    assert run.step == 40 and run.watcher.on_disk == [40]
    run = Run(Plan(steps_per_epoch=10, last_step=100, pause_step=120), step=40)
    assert run.train() == "last step" and run.step == 100


def test_a_run_at_its_last_step_trains_nothing() -> None:
    run = Run(Plan(steps_per_epoch=10, last_step=30), step=30)
    assert run.train() == "last step"
    assert run.blocks == [] and run.watcher.saved == [30]


def test_observers_see_blocks_then_epochs_then_saves() -> None:
    run = Run(Plan(steps_per_epoch=10, last_step=25, save_every_steps=(20,)), block_steps=20)
    run.train()
    assert run.watcher.events == [
        ("block", 0, 20),
        ("epoch", 1, 10, {"train/loss": 100.0, "val/loss": 300.0}),
        ("epoch", 2, 20, {"train/loss": 200.0, "val/loss": 600.0}),
        ("save", 20),
        ("block", 20, 5),
        ("save", 25),
    ]


def test_observers_are_called_in_their_order() -> None:
    calls: list[str] = []

    class Named(Observer):
        def __init__(self, name: str):
            self.name = name

        def on_block(self, first_step: int, result: BlockResult) -> None:
            calls.append(f"{self.name} block")

        def on_save(self, step: int) -> None:
            calls.append(f"{self.name} save")

    training = loop.train(
        SimpleNamespace(step=0, is_stopped=False),
        Plan(steps_per_epoch=10, last_step=5),
        sizer=BlockSizer(1.0, 5, max_steps=5),
        observers=[Named("a"), Named("b")],
        timing=Timing(),
        should_stop=lambda: False,
    )
    assert next(training) == Block(0, 5)
    with pytest.raises(StopIteration):
        training.send(block_result(Block(0, 5), 10))
    assert calls == ["a block", "b block", "a save", "b save"]


def test_the_state_is_saved_every_so_many_steps() -> None:
    run = Run(Plan(steps_per_epoch=10, last_step=95, save_every_steps=(30, 40)))
    run.train()
    assert run.watcher.saved == [30, 40, 60, 80, 90, 95]


def test_the_last_step_is_saved_even_if_it_was_just_saved() -> None:
    run = Run(Plan(steps_per_epoch=10, last_step=90, save_every_steps=(30,)))
    run.train()
    assert run.watcher.saved == [30, 60, 90, 90]  # checkpoints.save skips the second


def test_the_state_is_saved_every_so_many_seconds() -> None:
    plan = Plan(steps_per_epoch=10**6, last_step=100, save_every_seconds=10.0)
    run = Run(plan, seconds=1.0, block_steps=4)
    run.train()
    assert run.watcher.saved == [*range(12, 97, 12), 100]  # without the time that saving takes


def test_a_run_ends_after_max_seconds() -> None:
    run = Run(Plan(steps_per_epoch=10, last_step=None, max_seconds=5.0), seconds=0.25, block_steps=2)
    assert run.train() == "max_seconds"
    assert run.step == 20 and run.watcher.saved == [20]


def test_early_stopping_ends_a_run() -> None:
    run = Run(Plan(steps_per_epoch=10, last_step=1000), block_steps=100)
    run.stop_at = 40
    assert run.train() == "early stopping"
    assert run.watcher.saved == [40]


def test_a_run_that_early_stopping_has_ended_trains_nothing() -> None:
    run = Run(Plan(steps_per_epoch=10, last_step=1000), step=40)
    run.position.is_stopped = True
    assert run.train() == "early stopping"
    assert run.blocks == [] and run.watcher.saved == [40]


def test_an_interrupted_run_saves_after_the_block() -> None:
    run = Run(Plan(steps_per_epoch=1, last_step=10**6), block_steps=25)
    run.interrupt_after = 60
    assert run.train() == "interrupted"
    assert run.blocks == [25, 25, 25] and run.watcher.on_disk == [75]


def test_a_diverged_run_has_saved_its_last_good_step() -> None:
    run = Run(Plan(steps_per_epoch=10, last_step=1000))
    run.fail_after = 23
    with pytest.raises(DivergedError, match=r"not finite at step 24, epoch 3\. The weights of step 23 are saved"):
        run.train()
    assert run.watcher.on_disk == [23]  # so the message is true when it is raised
    assert ("block", 20, 3) in run.watcher.events


def test_a_run_may_diverge_at_its_first_step() -> None:
    run = Run(Plan(steps_per_epoch=10, last_step=1000))
    run.fail_after = 0
    with pytest.raises(DivergedError, match="not finite at step 1, epoch 1"):
        run.train()
    assert run.watcher.saved == [0]


@pytest.mark.parametrize(
    ("cause", "is_rate", "advice"),
    [
        ("", False, "A lower learning rate or optimizer.clip_norm may help"),
        ("the learning rate is inf", True, r"A learning rate .* must be finite: float32 ends at 3\.4e\+38"),
    ],
)
def test_what_helps_depends_on_what_is_not_finite(cause: str, is_rate: bool, advice: str) -> None:
    run = Run(Plan(steps_per_epoch=10, last_step=1000))
    run.fail_after = 23
    result = run.result
    run.result = lambda block: replace(result(block), cause=cause, is_rate=is_rate)  # type: ignore[method-assign]
    with pytest.raises(DivergedError, match=rf"{cause or 'not finite'} at step 24.* step 23 are saved\. {advice}"):
        run.train()


def test_a_run_may_roll_back_instead() -> None:
    run = Run(Plan(steps_per_epoch=10, last_step=40, save_every_steps=(20,)))
    run.fail_after = 33

    def roll_back(step: int) -> int:
        rolled_back.append(step)
        run.fail_after = 10**9
        return 20

    rolled_back: list[int] = []
    run.roll_back = roll_back
    assert run.train() == "last step"
    assert rolled_back == [33]
    assert run.watcher.saved == [0, 20, 40, 40]  # the first one is there to be rolled back to
    blocks = [event[1:] for event in run.watcher.events if event[0] == "block"]
    assert blocks == [(0, 10), (10, 10), (20, 10), (30, 3), (20, 10), (30, 10)]


def test_training_is_timed_without_saving() -> None:
    plan = Plan(steps_per_epoch=10, last_step=100, save_every_steps=(50,))
    run = Run(plan, seconds=0.25)
    run.train()
    # the first block contains the compilation; two saves on the cadence and one at the end, which is waited for
    assert run.timing.compile_seconds == 10 * 0.25
    assert run.timing.train_seconds == 90 * 0.25
    assert run.timing.checkpoint_seconds == 3 * SAVING_SECONDS + WAITING_SECONDS
    assert run.timing.steps_per_second == 4.0


def test_blocks_grow_to_the_wanted_duration() -> None:
    sizer = BlockSizer(0.15, first_steps=1, max_steps=10**6)
    lengths = []
    for _ in range(8):
        lengths.append(sizer.num_steps)
        sizer.update(sizer.num_steps, sizer.num_steps * 0.0001)
    assert lengths[:4] == [1, 8, 64, 512]
    assert lengths[-1] == pytest.approx(0.15 / 0.0001, abs=1)


def test_blocks_of_slow_steps_have_one_step() -> None:
    sizer = BlockSizer(0.15, first_steps=4, max_steps=100)
    sizer.update(4, 4 * 1.0)
    assert sizer.num_steps == 1


def test_blocks_are_no_longer_than_the_program_allows() -> None:
    sizer = BlockSizer(1.0, first_steps=256, max_steps=300)
    assert sizer.num_steps == 256
    sizer.update(256, 1e-6)
    assert sizer.num_steps == 300
