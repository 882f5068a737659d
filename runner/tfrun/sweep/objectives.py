"""The objectives of a search, and their directions."""

from __future__ import annotations

from tfrun.config.catalog import Catalog
from tfrun.config.cross_checks import monitored_values
from tfrun.config.directions import contradiction, require_mode
from tfrun.errors import ConfigError, unknown
from tfrun.sweep.jobs import Job
from tfrun.sweep.optuna_study import Direction
from tfrun.sweep.sweep_settings import SearchSettings


def read_directions(settings: SearchSettings, first: Job, *, catalog: Catalog) -> dict[str, Direction]:
    """Returns the direction of each objective; an objective without one has that of its metric.

    Raises:
        ConfigError: a run has no such value, or the direction is wrong.
    """
    checkpoint = first.settings.checkpoint
    objectives = settings.objectives or {checkpoint.monitor: checkpoint.mode}
    known = monitored_values(first.settings)
    directions: dict[str, Direction] = {}
    for name, mode in objectives.items():
        if name not in known:
            raise unknown("hydra.sweeper.objectives", "value", name=str(name), known=known)
        if mode not in ("min", "max", None):
            raise ConfigError(f"hydra.sweeper.objectives.{name}: must be min, max or null. Received: {mode!r}")
        where = f"hydra.sweeper.objectives.{name}"
        mode = require_mode(where, str(name), given=mode, metrics=first.settings.metric, catalog=catalog)
        directions[str(name)] = "minimize" if mode == "min" else "maximize"
    return directions


def against_metrics(settings: SearchSettings, first: Job, *, catalog: Catalog) -> list[str]:
    """Returns a warning for each objective that seeks those values that its metric calls worse."""
    against = {
        f"hydra.sweeper.objectives.{name}={mode}": contradiction(name, mode, first.settings.metric, catalog)
        for name, mode in (settings.objectives or {}).items()
        if mode
    }
    return [f"warning: {where}, but {reason}" for where, reason in against.items() if reason]
