"""The outer loop of training: Python, between the blocks of the compiled inner loop.

    while steps are left:
        result = yield Block(step, num_steps)     whoever drives the loop trains the block and sends its result
        observers see the block and its epochs
        save, if it is time; stop, if a limit, a signal or early stopping says so
    save; wait until everything is on the disk

A run that is alone is driven by `building.alone`, runs that are trained together by `building.together`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tfrun.engine.training.block_result import BlockResult
from tfrun.engine.training.plan import Plan
from tfrun.engine.training.timing import Timing
from tfrun.errors import DivergedError
from tfrun.files import failpoints

EndReason = Literal["last step", "paused", "early stopping", "max_seconds", "interrupted"]


@dataclass(frozen=True)
class Block:
    """A request to train `num_steps` steps from `first_step` on."""

    first_step: int
    num_steps: int


class Observer:
    """Sees a run as it trains. Each method does nothing unless it is overridden."""

    def on_block(self, first_step: int, result: BlockResult) -> None:
        """Sees a block: the number of steps before it, and its result."""

    def on_epoch(self, epoch: int, step: int, values: Mapping[str, float]) -> None:
        """Sees an epoch's end: its number from 1, its last step, its metrics by full name (`val/loss`)."""

    def on_save(self, step: int) -> None:
        """Saves the state, which is that after `step`."""

    def on_end(self) -> None:
        """Returns once everything it was given is on the disk. Raises ResourceError if the disk refuses."""


class BlockSizer:
    """Chooses how long the blocks are, so that Python runs about once in `seconds`.

    Args:
        seconds: how long a block takes.
        first_steps: how many steps the first block has; each block has up to eight times as many as the one before.
        max_steps: how many steps a block has at most.
    """

    def __init__(self, seconds: float, first_steps: int, *, max_steps: int):
        self._seconds = seconds
        self._num_steps = first_steps
        self._max_steps = max_steps

    @property
    def num_steps(self) -> int:
        """The length of the next block."""
        return min(self._num_steps, self._max_steps)

    def update(self, num_steps: int, seconds: float) -> None:
        """Adapts the length to a block that took `seconds`."""
        self._num_steps = min(8 * self._num_steps, max(1, int(num_steps * self._seconds / seconds)))


class Position(Protocol):
    """The attributes and methods of a program that the loop uses."""

    @property
    def step(self) -> int:
        """The number of steps that the state has been trained."""

    @property
    def is_stopped(self) -> bool:
        """Whether early stopping's patience is over."""


def train(
    position: Position,
    plan: Plan,
    *,
    sizer: BlockSizer,
    observers: Sequence[Observer],
    timing: Timing,
    should_stop: Callable[[], bool],
    roll_back: Callable[[int], int] | None = None,
) -> Generator[Block, BlockResult, EndReason]:
    """Trains up to the plan's end; the last step is always saved. Yields blocks to be trained; is sent their results.

    Args:
        position: where the state is.
        plan: when to stop and when to save.
        sizer: how long the blocks are.
        observers: called in their order.
        timing: the blocks' and the saves' seconds are added to it.
        should_stop: whether a signal, or a sweep, asks the run to stop; asked after each block.
        roll_back: called with a step whose numbers aren't finite: restores the state of a step that was saved, and
            returns that step. None ends the run instead.

    Returns:
        Why training ended.

    Raises:
        DivergedError: a loss, a gradient, a learning rate or what an update makes of the state is not finite; the state
            is that of the step before, and saved.
    """
    step = position.step
    started = saved = timing.clock()
    reason: EndReason | None = "early stopping" if position.is_stopped else None
    if roll_back:
        _save(step, observers)  # the state to roll back to
    while plan.is_left(step) and reason is None:
        num_steps = plan.block_steps(step, sizer.num_steps)
        before = timing.clock()
        result = yield Block(step, num_steps)
        timing.add_block(len(result.losses), timing.clock() - before, compiled=result.compiled)
        failpoints.reach("epoch" if len(result.train) else "block")
        _observe(step, result, steps_per_epoch=plan.steps_per_epoch, observers=observers)
        step += len(result.losses)

        if not result.finite and roll_back and not result.is_rate:
            step = roll_back(step)
            continue
        if not result.finite:
            _save(step, observers)
            _end(observers)
            raise _diverged(step, result, steps_per_epoch=plan.steps_per_epoch)
        if should_stop():
            reason = "interrupted"
        elif result.stopped:
            reason = "early stopping"
        elif plan.max_seconds is not None and timing.clock() - started >= plan.max_seconds:
            reason = "max_seconds"
        if plan.is_save_due(step, timing.clock() - saved):
            with timing.saving():
                _save(step, observers)
            saved = timing.clock()
    with timing.saving():
        _save(step, observers)
        _end(observers)
    return reason or ("paused" if plan.is_paused(step) else "last step")


def _observe(first_step: int, result: BlockResult, *, steps_per_epoch: int, observers: Sequence[Observer]) -> None:
    """Shows observers a block, and the epochs that ended in it."""
    for observer in observers:
        observer.on_block(first_step, result)
    first_epoch = first_step // steps_per_epoch
    for k in range(len(result.train)):
        epoch = first_epoch + k + 1
        for observer in observers:
            observer.on_epoch(epoch, epoch * steps_per_epoch, result.values(k))


def _save(step: int, observers: Sequence[Observer]) -> None:
    for observer in observers:
        observer.on_save(step)


def _end(observers: Sequence[Observer]) -> None:
    for observer in observers:
        observer.on_end()


def _diverged(step: int, result: BlockResult, *, steps_per_epoch: int) -> DivergedError:
    advice = "A learning rate times the factor of its schedule must be finite: float32 ends at 3.4e+38"
    if not result.is_rate:
        advice = "A lower learning rate or optimizer.clip_norm may help"
    return DivergedError(
        f"{result.cause or 'the loss or its gradient is not finite'} at step {step + 1}, "
        f"epoch {step // steps_per_epoch + 1}. The weights of step {step} are saved. {advice}",
        **({"cause": result.cause} if result.cause else {}),
    )
