"""The trials of a search: each has one job, or one job for each fold of a cross-validation.

What becomes of a trial of several folds follows from the folders of its jobs, so a sweep that is resumed finds out:

    failed      a fold has failed or has no objective
    completed   all folds have completed; the trial's value is their mean
    pruned      a fold is pruned, or the pruner has stopped the trial

After a failure or the pruner's decision its other folds aren't started.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tfrun.config.automatic import as_resolved
from tfrun.config.plain import read_yaml
from tfrun.files.runs import RunFolder
from tfrun.files.strict_json import defined
from tfrun.sweep.jobs import Job, JobFolder
from tfrun.sweep.ledger import Trial
from tfrun.sweep.sweep_settings import SearchSettings

WARMUP_KEYS = ("n_warmup_steps", "min_resource")  # of pruners: how many values a trial has before it can be pruned


@dataclass(frozen=True)
class Result:
    """How a job has ended, and what its search needs of it.

    Attributes:
        status: as in `run.json`.
        objectives: their values; None for one that isn't defined.
        values: all values of the epoch that counts, by name, those of the last epoch if that one lacks them, and
            `parameters`.
    """

    status: str
    objectives: list[float | None]
    values: Mapping[str, Any]

    @classmethod
    def read(cls, folder: RunFolder, objectives: Sequence[str], *, take: Literal["best", "last"]) -> Result:
        """Returns the result of the job in a folder.

        Args:
            folder: the job's.
            objectives: names of values.
            take: the epoch that counts.
        """
        run = folder.read_run()
        last = run.get("metrics", {})
        taken = run.get("metrics" if take == "last" else "best") or {}
        values = [defined(taken.get(name, last.get(name))) for name in objectives]
        status = str(run.get("status", "failed"))
        return cls(status, values, {**last, **taken, "parameters": run.get("parameters")})

    @property
    def has_failed(self) -> bool:
        """Whether the job has failed for the study; one without a defined objective has."""
        return self.status not in ("completed", "pruned") or (self.status == "completed" and None in self.objectives)


class FoldTrial:
    """A trial of a search and its jobs.

    Args:
        trial: Optuna's; None if the study has its result already, and a job of it is run again.
        jobs: of all its folds in their order, or the only one.
        num_reported: the number of folds after which the pruner has received the mean.

    Attributes:
        results: of the jobs that have ended, by number.
        running: the numbers of the jobs that run.
        is_pruned: whether the pruner has stopped it.
    """

    def __init__(self, trial: Any | None, jobs: Sequence[Job], *, num_reported: int = 0):
        self.trial = trial
        self.jobs = list(jobs)
        self.results: dict[int, Result] = {}
        self.running: set[int] = set()
        self.is_pruned = False
        self._num_reported = num_reported

    @property
    def has_folds(self) -> bool:
        return len(self.jobs) > 1

    @property
    def end(self) -> Literal["failed", "pruned", "completed"] | None:
        """What becomes of the trial; None if that isn't known yet."""
        results = self.results.values()
        if any(result.has_failed for result in results):
            return "failed"
        if self.num_completed == len(self.jobs):
            return "completed"  # even if the pruner stopped it while its last folds ended
        return "pruned" if self.is_pruned or any(result.status == "pruned" for result in results) else None

    @property
    def label(self) -> str:
        """The numbers of its jobs."""
        return f"#{self.jobs[0].number}–{self.jobs[-1].number}" if self.has_folds else f"#{self.jobs[0].number}"

    @property
    def num_completed(self) -> int:
        return sum(result.status == "completed" for result in self.results.values())

    def resolved(self, job: Job) -> Job:
        """Returns a job of the trial that never started with what `auto` has become in one that did, if any."""
        other = next((other for other in self.jobs if other.folder.config_yaml.exists()), job)
        if other is job:
            return job
        config = as_resolved(job.config, read_yaml(other.folder.config_yaml))
        return replace(job, files={**job.files, "config.yaml": config})

    def unreported(self) -> Iterator[tuple[int, float]]:
        """Yields what the pruner hasn't received: the mean of the first objective over the first folds, and how many.

        A fold that ends before an earlier one waits for it, so that the pruner compares trials on the same rows.
        """
        ended = [self.results.get(job.number) for job in self.jobs]
        values = [result.objectives[0] for result in itertools.takewhile(_has_value, ended) if result is not None]
        while self._num_reported < len(values):
            self._num_reported += 1
            yield (
                self._num_reported,
                statistics.fmean(value for value in values[: self._num_reported] if value is not None),
            )

    def objectives(self) -> list[float]:
        """Returns the mean of each objective over the folds of a completed trial."""
        columns = zip(*(result.objectives for result in self.results.values()), strict=True)
        return [statistics.fmean(value for value in column if value is not None) for column in columns]

    def values(self) -> dict[str, float | None]:
        """Returns the mean of each value over the folds that have completed, or over all if none has.

        A value that isn't defined in one of them has no mean.
        """
        results = list(self.results.values())
        counted = [result for result in results if result.status == "completed"] or results
        return {name: _mean([result.values.get(name) for result in counted]) for name in counted[0].values}


def endless_warmups(settings: SearchSettings, count: int) -> list[str]:
    """Returns a warning for each option of the pruner that asks for more folds than a trial has before its last one."""
    options = settings.pruner if isinstance(settings.pruner, dict) and count > 1 else {}
    return [
        f"warning: hydra.sweeper.pruner.{key}={options[key]} counts folds, of which a trial has {count}: none is pruned"
        for key in WARMUP_KEYS
        if isinstance(options.get(key), int) and options[key] >= count
    ]


def pruned_with_failed(folder: Path, group: Sequence[Trial], left: Collection[int]) -> list[Trial]:
    """Returns the folds of a trial that were pruned because of a fold that failed, if that one is run again.

    Args:
        folder: the sweep's folder.
        group: the folds of the trial.
        left: the numbers of the jobs that are run again.
    """
    statuses = {trial.number: JobFolder(folder / str(trial.number)).read_run().get("status") for trial in group}
    if not any(statuses[number] in ("failed", "diverged") for number in statuses if number in left):
        return []
    return [trial for trial in group if statuses[trial.number] == "pruned"]


def _has_value(result: Result | None) -> bool:
    return result is not None and result.status == "completed" and result.objectives[0] is not None


def _mean(values: Sequence[Any]) -> float | None:
    """Returns the mean of values; None if one of them isn't a number that is defined."""
    known = [number for value in values if (number := defined(value)) is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None
