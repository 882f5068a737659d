"""Whether the limits of a config leave a run anything to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfrun.config.settings import TrainerSettings


def nothing_left(trainer: TrainerSettings, run: Mapping[str, Any]) -> str | None:
    """Returns why there is nothing left to train and to test, or None if there is.

    Args:
        trainer: the limits.
        run: the fields of the run's `run.json`; empty if it hasn't begun.
    """
    is_completed = run.get("status") == "completed"
    for key, unit in (("epoch", "epochs"), ("step", "steps")):
        done, limit = run.get(key, 0), getattr(trainer, f"max_{unit}")
        if limit is not None and done > limit:
            return f"has nothing left to do: {done} {unit} are done, trainer.max_{unit}={limit}"
        if limit is not None and done == limit and is_completed:
            return f"is completed already, at step {run['step']}"
    return None
