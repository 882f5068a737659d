"""What a run tells a sweep while it trains: how far it is after each block, and each epoch's values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tfrun.engine.training import loop
from tfrun.files import journals

Tell = Callable[[int, int | None, int, Mapping[str, float], bool], None]
# step, last step (None without one), epoch, values by full name, whether the epoch ended


def with_epochs(
    write: Callable[[int, Any], Any], plan: loop.Plan, names: list[str], tell: Tell | None
) -> Callable[..., Any]:
    """Returns what writes a block's values and tells of the epochs that ended in it."""
    if tell is None:
        return write

    def write_and_tell(first_step: int, result: Any) -> None:
        write(first_step, result)
        first_epoch = first_step // plan.steps_per_epoch
        for k in range(len(result.train)):
            epoch = first_epoch + k + 1
            values = journals.full_names(loop.by_split(result, names, k))
            tell(epoch * plan.steps_per_epoch, plan.limit, epoch, values, True)

    return write_and_tell


def with_steps(show: Callable[..., Any], plan: loop.Plan, tell: Tell | None) -> Callable[..., Any]:
    """Returns what shows how far a run is and tells it too."""
    if tell is None:
        return show

    def show_and_tell(step: int, values: dict[str, float], timing: loop.Timing) -> None:
        show(step, values, timing)
        tell(step, plan.limit, step // plan.steps_per_epoch, values, False)

    return show_and_tell
