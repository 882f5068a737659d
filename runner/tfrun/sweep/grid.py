"""A grid: jobs that are all known before the first one runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from omegaconf import DictConfig

from tfrun.config.compose import Configs
from tfrun.config.explain import USER_MISTAKES
from tfrun.errors import ConfigError
from tfrun.sweep import estimate
from tfrun.sweep.composer import Composer
from tfrun.sweep.folds import fold_words, num_folds
from tfrun.sweep.jobs import Job
from tfrun.sweep.ledger import Ledger, Trial
from tfrun.sweep.outcome import Outcome
from tfrun.sweep.source import Source
from tfrun.sweep.swept_files import job_words
from tfrun.sweep.words import swept_keys, task_words

MEASURED_JOBS = 3  # of a structure: the first one compiles, so the last of these is remembered


class Grid(Source):
    """Jobs that are all known before the first one runs; their durations are remembered for later estimates.

    Args:
        jobs: the new ones.
        composer: made them, and makes those that are resumed.
        mode: `min` or `max`: which monitored value is best.
        news: lines for the terminal.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        composer: Composer,
        mode: str,
        news: Sequence[str] = (),
    ):
        self.composer = composer
        self.mode = mode
        self.total: int | None = len(jobs)
        self._jobs = list(jobs)
        self._news = list(news)
        self._waiting: list[Job] = []
        self._started: dict[int, float] = {}
        self._num_together: dict[int, int] = {}  # jobs that a job is trained with, including itself
        self._num_ended: Counter[str] = Counter()  # jobs, by structure

    @classmethod
    def from_config(cls, configs: Configs, sweep: DictConfig, *, threads: int | None) -> Grid:
        """Composes and checks the jobs of a command line.

        Raises:
            ConfigError: a job's config is wrong, or there is no job.
        """
        try:
            overrides = job_words(configs, sweep)
        except USER_MISTAKES as error:
            raise configs.explain(error) from error
        composer = Composer(configs, sweep, swept=differing_keys(overrides) or swept_keys(sweep), threads=threads)
        jobs = [composer(job_overrides, number) for number, job_overrides in enumerate(overrides)]
        with_folds = [words for job in jobs for words in fold_words(job.overrides, num_folds(job.settings))]
        if len(with_folds) > len(jobs):
            composer = composer.with_swept(differing_keys(with_folds))
            jobs = [composer(job_overrides, number) for number, job_overrides in enumerate(with_folds)]
        if not jobs:
            typed = " ".join(word.lstrip("+") for word in task_words(sweep))  # "+" may be of `overrides.rewrite`
            raise ConfigError(f"-m: a sweep without jobs, because one of its ranges is empty. Received: {typed}")
        mode = jobs[0].settings.checkpoint.mode
        return cls(jobs, composer=composer, mode=mode)

    def extending(self, swept: Collection[str], trials: Sequence[Trial], *, earlier: Sequence[str] = ()) -> Grid:
        """Returns a grid of the jobs that a sweep doesn't have yet, numbered after its trials.

        Args:
            swept: the keys that the sweep already sweeps.
            trials: the sweep's trials.
            earlier: overrides of every job of a sweep of an earlier version, which may not have written them.
        """
        known = {frozenset(trial.overrides).difference(earlier) for trial in trials}
        new = [job.overrides for job in self._jobs if frozenset(job.overrides).difference(earlier) not in known]
        jobs = [*(trial.overrides for trial in trials), *new]
        differing = differing_keys([[text for text in job if text not in earlier] for job in jobs])
        composer = self.composer.with_swept({*self.composer.swept, *swept, *differing})
        num_known = len(self._jobs) - len(new)
        return Grid(
            [composer(overrides, len(trials) + k) for k, overrides in enumerate(new)],
            composer=composer,
            mode=self.mode,
            news=[f"{num_known} of the jobs are in the sweep already"] if num_known else [],
        )

    @property
    def first(self) -> Job:
        return (self._jobs or self._waiting)[0]

    @property
    def overrides(self) -> list[list[str]]:
        """The overrides of the new jobs."""
        return [job.overrides for job in self._jobs]

    def begin(self, folder: Path, ledger: Ledger, *, trials: Sequence[Trial] = (), left: Sequence[Trial] = ()) -> None:
        resumed = [self.composer(trial.overrides, trial.number).within(folder).resumed() for trial in left]
        new = [job.within(folder) for job in self._jobs]
        if new:
            ledger.add([(job.number, job.overrides) for job in new])
        self._waiting = [*resumed, *new]
        self.total = len(self._waiting)

    def announce(self, num_workers: int, *, folder: Path) -> None:
        """Adds to the news how many jobs are new, and about how much time and disk space they take."""
        self._news += estimate.describe(self._jobs, num_workers, folder=folder)

    def next(self, structures: Collection[str]) -> Job | None:
        known = (job for job in self._waiting if job.structure in structures)
        job = next(known, self._waiting[0] if self._waiting else None)
        if job is not None:
            self._waiting.remove(job)
            self._started[job.number] = time.monotonic()
        return job

    def more_like(self, job: Job, *, lanes: int, workers: int) -> list[Job]:
        alike = [other for other in self._waiting if job.is_like(other)]
        share = -(-(1 + len(alike)) // workers)  # of one worker, rounded up
        alike = alike[: min(lanes, share) - 1]
        for other in alike:
            self._waiting.remove(other)
        for member in (job, *alike):
            self._started[member.number] = time.monotonic()
            self._num_together[member.number] = 1 + len(alike)
        return alike

    def ended(self, job: Job, outcome: Outcome) -> None:
        self._num_ended[job.structure] += 1
        if outcome.status == "completed" and self._num_ended[job.structure] <= MEASURED_JOBS:
            seconds = time.monotonic() - self._started[job.number]
            estimate.remember(job, seconds / self._num_together.get(job.number, 1))

    def news(self) -> list[str]:
        news, self._news = self._news, []
        return news


def differing_keys(jobs: Sequence[Sequence[str]]) -> set[str]:
    """Returns the keys of the overrides that are not the same in all jobs."""
    values = [{key: value for key, _, value in (text.lstrip("+").partition("=") for text in job)} for job in jobs]
    keys = {key for job in values for key in job}
    return {key for key in keys if len({job.get(key) for job in values}) > 1}
