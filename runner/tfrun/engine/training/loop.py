"""The loop around the program: Python between the blocks.

    while steps are left:
        train a block, up to where Python has something to do
        hand its values over to be written, show them
        hand the state over to be saved, where it is time; stop where a limit, a signal or early stopping says so
    hand over the last state; wait until everything is on the disk

The clock and everything that writes or shows are handed in.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tfrun.engine.training.program import BlockResult, Program
from tfrun.errors import DivergedError
from tfrun.files.failpoints import reach
from tfrun.files.journals import Writer

UNLIMITED = sys.maxsize  # the last step of a run that only time or a signal ends
BLOCK_SECONDS = 0.15  # so that the display moves several times a second
FIRST_BLOCK_STEPS = 1  # then up to eight times as many each time


@dataclass(frozen=True)
class Plan:
    """When to stop and when to save; `None` is never.

    Attributes:
        steps_per_epoch: whole batches in an epoch.
        last_step: the run's last step, or UNLIMITED.
        max_seconds: of training in this process.
        save_every_steps, save_every_seconds: the checkpoint's cadences; each that is given counts.
        log_every_steps: each n-th step is a point on the curves over steps.
        pause_step: where to stop before the last step, to be gone on with.
    """

    steps_per_epoch: int
    last_step: int
    max_seconds: float | None = None
    save_every_steps: tuple[int, ...] = ()
    save_every_seconds: float | None = None
    log_every_steps: int | None = None
    pause_step: int | None = None

    @property
    def end(self) -> int:
        """The last step for now."""
        return self.last_step if self.pause_step is None else min(self.pause_step, self.last_step)

    @property
    def limit(self) -> int | None:
        """The last step, or None where there is none."""
        return None if self.last_step == UNLIMITED else self.last_step

    def block_steps(self, step: int, wanted: int) -> int:
        """Returns how many steps to train from `step` on: about `wanted`, to an epoch's end where one is passed."""
        end = min(step + max(1, wanted), self.end)
        if end // self.steps_per_epoch > step // self.steps_per_epoch:
            end -= end % self.steps_per_epoch
        return min([end, *((step // every + 1) * every for every in self.save_every_steps)]) - step


@dataclass
class Timing:
    """Seconds that the training thread spent, by what on; `steps_per_second` is of training alone."""

    compile_seconds: float = 0.0
    train_seconds: float = 0.0
    eval_seconds: float = 0.0
    checkpoint_seconds: float = 0.0
    timed_steps: int = field(default=0, repr=False)

    @property
    def steps_per_second(self) -> float | None:
        return self.timed_steps / self.train_seconds if self.train_seconds else None

    def added_to(self, earlier: Mapping[str, Any]) -> dict[str, float | None]:
        """Returns what run.json says, for a run that goes on: its seconds summed up, the rate of this process."""
        seconds = {key: value for key, value in asdict(self).items() if key != "timed_steps"}
        total = {key: round((earlier.get(key) or 0.0) + value, 3) for key, value in seconds.items()}
        return total | {"steps_per_second": self.steps_per_second and round(self.steps_per_second, 1)}


async def train(
    program: Program,
    run: Callable[[int, int], Awaitable[BlockResult]],
    plan: Plan,
    write: Callable[[int, BlockResult], Any],
    show: Callable[[int, dict[str, float], Timing], Any],
    save: Callable[[int], Any],
    wait: Callable[[], Any],
    is_interrupted: Callable[[], bool],
    timing: Timing,
    roll_back: Callable[[int], int] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> str:
    """Trains from the program's step to the plan's last one; the last step is always saved.

    Args:
        program: the compiled blocks over the run's state.
        run: has one of them train, from a step on about so many steps.
        plan: when to stop and when to save.
        write: takes each block's first step and its result.
        show: called after each block with the step, the newest values and the timing so far.
        save: takes the state as it is for the checkpoint of a step.
        wait: returns once all that was given to `write` and `save` is on the disk.
        is_interrupted: whether a signal asked to stop.
        timing: added to.
        roll_back: called with a step whose numbers aren't finite; goes back to a step that was saved and returns it.
        clock: gives seconds.

    Returns:
        Why it ended: "last step", "paused", "early stopping", "max_seconds" or "interrupted".

    Raises:
        DivergedError: a loss or a gradient was not finite; the state is that of the step before, and saved.
    """
    step, wanted = int(program.step_count.numpy()), FIRST_BLOCK_STEPS
    values: dict[str, float] = {}
    started = saved = clock()
    compiled = timing.compile_seconds > 0
    why = "early stopping" if program.is_stopped else "last step"
    if roll_back:
        save(step)  # what to go back to
    while step < plan.end and why == "last step":
        num_steps = plan.block_steps(step, min(wanted, program.max_steps))
        before = clock()
        result = await run(step, num_steps)
        seconds = clock() - before
        if compiled:
            timing.train_seconds += seconds
            timing.timed_steps += len(result.losses)
            wanted = min(8 * wanted, max(1, int(num_steps * BLOCK_SECONDS / seconds)))
        else:
            timing.compile_seconds += seconds
            compiled = True
        reach("epoch" if len(result.train) else "block")
        write(step, result)
        values |= newest_values(result, program.names)
        step += len(result.losses)
        show(step, values, timing)

        if not result.finite and roll_back:
            step = roll_back(step)
            continue
        if not result.finite:
            save(step)
            wait()
            raise DivergedError(
                f"the loss or its gradient is not finite at step {step + 1}, epoch {step // plan.steps_per_epoch + 1}. "
                f"The weights of step {step} are saved. A lower learning rate or optimizer.clip_norm may help"
            )
        if is_interrupted():
            why = "interrupted"
        elif result.stopped:
            why = "early stopping"
        elif plan.max_seconds is not None and clock() - started >= plan.max_seconds:
            why = "max_seconds"
        on_cadence = any(step % every == 0 for every in plan.save_every_steps)
        if on_cadence or (plan.save_every_seconds is not None and clock() - saved >= plan.save_every_seconds):
            before = clock()
            save(step)
            saved = clock()
            timing.checkpoint_seconds += saved - before
    before = clock()
    save(step)
    wait()
    timing.checkpoint_seconds += clock() - before
    return "paused" if why == "last step" and step < plan.last_step else why


def write(
    writer: Writer, plan: Plan, group_names: list[str], names: list[str], first_step: int, result: BlockResult
) -> None:
    """Writes a block's steps and epochs, in the order in which they happened.

    Args:
        writer: takes the values.
        plan: says which steps are points on the curves.
        group_names: the active optimizer groups, in the order of the program's learning rates.
        names: of the metrics, loss first.
        first_step: the step before the block.
        result: what the block did.
    """
    per_epoch, every = plan.steps_per_epoch, plan.log_every_steps
    last_step = first_step + len(result.losses)
    points = range((first_step // every + 1) * every, last_step + 1, every) if every else []
    events: list[tuple[int, int | None]] = [(step, None) for step in points]
    first_epoch = first_step // per_epoch
    events += [((first_epoch + k + 1) * per_epoch, k) for k in range(len(result.train))]
    for step, ended in sorted(events, key=lambda event: (event[0], event[1] is not None)):
        if ended is None:
            k = step - first_step - 1
            rates = {
                f"lr/{name}": float(rate) for name, rate in zip(group_names, result.learning_rates[k], strict=True)
            }
            writer.write_steps(step, {"loss": float(result.losses[k]), "grad_norm": float(result.norms[k]), **rates})
        else:
            is_best = bool(result.improved[ended])
            writer.write_epoch(first_epoch + ended + 1, step, by_split(result, names, ended), is_best)


def by_split(result: BlockResult, names: list[str], k: int) -> dict[str, dict[str, float]]:
    """Returns the metrics of the block's k-th ended epoch."""
    splits = {"train": dict(zip(names, result.train[k].tolist(), strict=True))}
    if result.has_val:
        splits["val"] = dict(zip(names, result.val[k].tolist(), strict=True))
    return splits


def newest_values(result: BlockResult, names: list[str]) -> dict[str, float]:
    """Returns what a person watching wants to see, with full names."""
    if len(result.train):
        splits = by_split(result, names, len(result.train) - 1)
        return {f"{split}/{name}": value for split, own in splits.items() for name, value in own.items()}
    return {"train/loss": float(result.losses[-1])} if len(result.losses) else {}
