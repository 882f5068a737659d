"""The jobs of a cross-validation: one for each fold."""

from __future__ import annotations

from collections.abc import Sequence

from tfrun.config.settings import Settings
from tfrun.config.split_checks import FOLD_KEY
from tfrun.errors import ConfigError
from tfrun.sweep.jobs import Job


def num_folds(settings: Settings) -> int:
    """Returns the number of jobs that a config of a sweep stands for: its folds over all repeats, or 1."""
    data = settings.data
    return 1 if data.folds is None or data.fold is not None else data.folds * data.folds_repeats


def fold_words(overrides: Sequence[str], count: int) -> list[list[str]]:
    """Returns the overrides of each job of a cross-validation, or of the only job if `count` is 1."""
    return [[*overrides, f"{FOLD_KEY}={fold}"] for fold in range(count)] if count > 1 else [list(overrides)]


def same_num_folds(probes: Sequence[Job]) -> int:
    """Returns the number of jobs of each trial. Raises ConfigError if trials of the space differ in it."""
    counts = sorted({num_folds(job.settings) for job in probes})
    if len(counts) > 1:
        raise ConfigError(
            "data.folds: must be the same in all trials of a search, or their means can't be compared. Received: "
            f"{', '.join(map(str, counts))} jobs for a trial"
        )
    return counts[0]
