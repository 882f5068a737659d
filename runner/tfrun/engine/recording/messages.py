"""Reports a run's progress to the sweep that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tfrun.engine.training.block_result import BlockResult
from tfrun.engine.training.loop import Observer
from tfrun.engine.training.plan import Plan


class Report(Protocol):
    """A function that gets the progress of a run."""

    def __call__(
        self, step: int, last_step: int | None, epoch: int, values: Mapping[str, float], epoch_has_ended: bool, /
    ) -> None:
        """Called after a block, or at the end of an epoch.

        Args:
            step: the number of steps done.
            last_step: the run's last step, or None without one.
            epoch: the number of epochs done.
            values: the newest values, by full name: `val/loss`.
            epoch_has_ended: whether the values are those of an epoch that has ended.
        """


class Messages(Observer):
    """Calls a function after every block and at the end of every epoch.

    Args:
        report: the function.
        plan: the length of the run.
    """

    def __init__(self, report: Report, plan: Plan):
        self._report = report
        self._plan = plan
        self._values: dict[str, float] = {}

    def on_block(self, first_step: int, result: BlockResult) -> None:
        step = first_step + len(result.losses)
        self._values |= result.newest_values()
        self._report(step, self._plan.last_step, step // self._plan.steps_per_epoch, self._values, False)

    def on_epoch(self, epoch: int, step: int, values: Mapping[str, float]) -> None:
        self._report(step, self._plan.last_step, epoch, values, True)
