"""Reports a run's progress to the sweep that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tfrun.engine.training.loop import Observer
from tfrun.engine.training.plan import Plan
from tfrun.engine.training.program import BlockResult

Report = Callable[[int, int | None, int, Mapping[str, float], bool], None]
# step, last step (None without one), epoch, values by full name, whether an epoch has ended


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
