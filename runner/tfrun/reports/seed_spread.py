"""How far the seeds of a sweep spread: the mean and the deviation of what a job's sweep has monitored."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrun.errors import CheckpointError
from tfrun.files.runs import LEDGER, RunFolder

SEED = "seed="


@dataclass(frozen=True)
class SeedSpread:
    """The best values of jobs that differ in their seed alone.

    Attributes:
        metric: what they monitor.
        values: by seed, of at least two.
    """

    metric: str
    values: Mapping[int, float]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values.values())

    @property
    def deviation(self) -> float:
        """The standard deviation, with n − 1 in the denominator."""
        return statistics.stdev(self.values.values())

    @classmethod
    def of(cls, folder: RunFolder, run: Mapping[str, Any]) -> SeedSpread | None:
        """Returns the spread over the jobs of a run's sweep that have the same overrides except for the seed.

        Args:
            folder: the run's.
            run: its `run.json`.

        Returns:
            None if it is no job of a sweep, or fewer than two seeds have completed.
        """
        metric = run.get("best", {}).get("monitor")
        if (
            not folder.path.name.isdecimal()
            or not (folder.path.parent / LEDGER).is_file()
            or not isinstance(metric, str)
        ):
            return None
        values: dict[int, float] = {}
        for path in _jobs(folder.path.parent):
            try:
                job = RunFolder(path).read_run()
            except (CheckpointError, OSError):  # it says nothing
                continue
            value = job.get("best", {}).get(metric)
            is_like = _without_seed(job) == _without_seed(run) and job.get("best", {}).get("monitor") == metric
            seed = job.get("seed")
            is_done = job.get("status") == "completed" and "branch" not in job and value is not None
            if is_like and is_done and isinstance(seed, int):
                values[seed] = float(value)
        return cls(metric, values) if len(values) > 1 else None


def _jobs(sweep: Path) -> list[Path]:
    return [path for path in sweep.iterdir() if path.name.isdecimal() and path.is_dir()]


def _without_seed(run: Mapping[str, Any]) -> set[str]:
    return {word for word in run.get("overrides", []) if not word.lstrip("+").startswith(SEED)}
