"""A search: Optuna suggests the values of each job and prunes unpromising ones; the pool trains the jobs.

The study is asked for values whenever a worker is free, and gets a result whenever a job has ended, so no worker waits
for the slowest job. The study is in a database beside the jobs, or in one that several machines can reach.

With `data.folds`, each trial of the study has a job for each fold, and the study gets their mean (`fold_trials.py`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from tfrun.config.compose import Configs
from tfrun.config.split_checks import FOLD_KEY
from tfrun.errors import ConfigError, DataError, TfrunError
from tfrun.sweep import optuna_private
from tfrun.sweep.comparable import check_config, check_rows, check_space
from tfrun.sweep.composer import Composer
from tfrun.sweep.fold_trials import FoldTrial, Result, endless_warmups, pruned_with_failed
from tfrun.sweep.folds import fold_words, same_num_folds
from tfrun.sweep.jobs import Job, JobFolder
from tfrun.sweep.ledger import Ledger, Trial
from tfrun.sweep.lost_trials import JOB, Watch, ask, fail_and_put_back, is_trial_left, job_number, taken_jobs, trials_of
from tfrun.sweep.messages import Progress
from tfrun.sweep.objectives import against_metrics, read_directions
from tfrun.sweep.optuna_study import (
    Direction,
    Studies,
    parse_constraint,
    trial_states,
    update_finished_error,
)
from tfrun.sweep.outcome import Outcome
from tfrun.sweep.source import Source
from tfrun.sweep.space import Space
from tfrun.sweep.sweep_settings import SearchSettings, read_settings
from tfrun.sweep.task import write_hparams_row
from tfrun.sweep.words import sweeper_params

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


TRIALS_PER_WORKER = 8  # at least, with n_jobs=auto


class Search(Source):
    """The jobs of a study, each chosen when a worker is free.

    Args:
        settings: of the search.
        space: what is searched.
        composer: makes the jobs.
        first: a job of the space.
        num_folds: the number of jobs of each trial, 1 without folds.
        studies: opens the study.
        directions: `minimize` or `maximize` by objective.
        news: lines for the terminal.

    Raises:
        ConfigError: a constraint is wrong, or the objectives don't fit the space or the pruner.
    """

    def __init__(
        self,
        settings: SearchSettings,
        space: Space,
        *,
        composer: Composer,
        first: Job,
        num_folds: int,
        studies: Studies,
        directions: dict[str, Direction],
        news: Sequence[str] = (),
    ):
        self.space = space
        self.composer = composer
        self.mode = first.settings.checkpoint.mode
        self._settings = settings
        self._first = first
        self._studies = studies
        self._directions = directions
        self._news = list(news)
        self.space.check_comparable(self._directions)
        self._constraints = {text: parse_constraint(text) for text in settings.constraints}
        if settings.pruner and len(self._directions) > 1:
            raise ConfigError("hydra.sweeper.pruner: prunes by one objective, but there are several")
        self._num_folds = num_folds
        self._trials: dict[int, FoldTrial] = {}  # by the number of a job that waits or runs
        self._waiting: list[Job] = []
        self._checked: set[int] = set()  # the numbers of the jobs whose rows are those of the study
        self._num_trials = settings.n_trials
        self._is_shared = settings.study_name is not None
        self._watch: Watch | None = None
        if all(dimension.choices for dimension in space.dimensions) and "grid" in str(settings.sampler):
            num_points = math.prod(len(dimension.choices) for dimension in space.dimensions)
            self._num_trials = min(self._num_trials or num_points, num_points)
        self.total: int | None = None  # of a shared study, nobody knows how many jobs this machine will run
        if self._num_trials is not None and not self._is_shared:
            self.total = self._num_trials * num_folds

    @classmethod
    def from_config(cls, configs: Configs, sweep: DictConfig, *, threads: int | None = None) -> Search:
        """Reads and checks the search of `hydra.sweeper`.

        Args:
            configs: Hydra and the components.
            sweep: the config that the jobs share.
            threads: the number of threads of each job; None means one per core.

        Raises:
            ConfigError: the space or a value in it, the sampler, the pruner, an objective or a constraint is wrong.
        """
        settings = read_settings(sweep.hydra.sweeper, SearchSettings, where="hydra.sweeper")
        space = Space.read(configs, sweep, params=sweeper_params(sweep))
        composer = Composer(configs, sweep, swept=space.keys, threads=threads)
        probes = [composer(space.overrides(values), 0) for values in space.probes()]
        num_folds, first = same_num_folds(probes), probes[0]
        if num_folds > 1:
            composer = composer.with_swept({*space.keys, FOLD_KEY})
        max_reports = first.settings.trainer.max_epochs if num_folds == 1 else num_folds
        studies = Studies.check(settings, space, max_reports=max_reports)
        return cls(
            settings,
            space,
            composer=composer,
            first=first,
            num_folds=num_folds,
            studies=studies,
            directions=read_directions(settings, first, catalog=configs.catalog),
            news=[
                *against_metrics(settings, first, catalog=configs.catalog),
                *endless_warmups(settings, num_folds),
            ],
        )

    @property
    def first(self) -> Job:
        return self._first

    @property
    def at_once(self) -> int | None:
        """An eighth of the trials, since a sampler chooses each by those that have ended, and a pruner stops it so."""
        if self._num_trials is None:
            return None
        return -(-self._num_trials // TRIALS_PER_WORKER) * self._num_folds

    def also_left(self, folder: Path, trials: Sequence[Trial], *, left: Sequence[Trial]) -> list[Trial]:
        numbers = {trial.number for trial in left}
        for group in self._groups(trials):
            numbers |= {trial.number for trial in pruned_with_failed(folder, group, numbers)}
        return [trial for trial in trials if trial.number in numbers]

    def begin(self, folder: Path, ledger: Ledger, *, trials: Sequence[Trial] = (), left: Sequence[Trial] = ()) -> None:
        """Opens the study.

        Raises:
            ConfigError: the study belongs to another sweep, or can't be opened.
        """
        self._folder = folder
        self._ledger = ledger
        self._study = self._studies.open(
            folder, list(self._directions.values()), is_resumed=bool(trials), on_lost=self._add_news
        )
        check_space(self._study, self.space, num_folds=self._num_folds)
        if self._is_shared:
            counts = {key: getattr(self._settings, key) for key in ("take", "constraints")}
            check_config(self._study, self._first.settings, counts={"objectives": list(self._directions), **counts})
        if self._studies.have_signs_of_life:
            self._watch = Watch(self._study, lost_after_seconds=self._settings.lost_after_seconds)
            # this machine keeps its trials, whose jobs have checkpoints; lost ones may be all that is left to do
            self._watch.tick(trials_of(self._study, folder.name))
        missing = self._missing_folds(trials)
        trials, left = [*trials, *missing], [*left, *missing]
        self._next_number = len(trials)
        left_numbers = {trial.number for trial in left}
        opened = self._opened_trials()
        taken = taken_jobs(self._study, self._folder.name) if self._is_shared else ()
        for group in self._groups(trials):
            if group[0].number in taken:
                self._leave_to_others(group, left_numbers)
                continue
            known = opened.get(group[0].number)
            if known is not None or any(trial.number in left_numbers for trial in group):
                self._reopen(group, known, left=left_numbers)
        if self._num_trials is not None and not self._is_shared:
            self.total = max(0, self._num_trials * self._num_folds - len(trials)) + len(self._waiting)

    def _groups(self, trials: Sequence[Trial]) -> list[Sequence[Trial]]:
        """Returns the jobs of each of Optuna's trials."""
        return [trials[first : first + self._num_folds] for first in range(0, len(trials), self._num_folds)]

    def _missing_folds(self, trials: Sequence[Trial]) -> list[Trial]:
        """Returns the last folds of the last trial after writing them, if the sweep was killed while it wrote them."""
        if not len(trials) % self._num_folds:
            return []
        present = self._groups(trials)[-1]
        words = fold_words(present[0].overrides[:-1], self._num_folds)[len(present) :]
        missing = [Trial(len(trials) + k, "waiting", overrides) for k, overrides in enumerate(words)]
        self._ledger.add([(trial.number, trial.overrides) for trial in missing])
        return missing

    def _opened_trials(self) -> dict[int, FrozenTrial]:
        """Returns the trials of this sweep whose result the study doesn't have, by the number of their first job."""
        opened: dict[int, FrozenTrial] = {}
        for known in self._study.get_trials(deepcopy=False, states=(trial_states().RUNNING,)):
            number = job_number(known, self._folder.name)
            if number is not None and number < self._next_number:
                opened[number] = known
            elif number is not None or not self._is_shared:  # killed before the ledger had its jobs, or it was named
                fail_and_put_back(self._study, known)
        return opened

    def _leave_to_others(self, group: Sequence[Trial], left: Collection[int]) -> None:
        """Writes that the jobs of a trial that another machine has taken over are pruned."""
        entry = self._composed(None, [(job.number, job.overrides) for job in group])
        jobs = [job for job in entry.jobs if job.number in left] if entry else []
        for job in jobs:
            self._prune(job)
        if jobs and entry:
            self._news.append(f"{entry.label}  pruned: another machine has taken it over")

    def _reopen(self, group: Sequence[Trial], known: FrozenTrial | None, *, left: Collection[int]) -> None:
        """Prepares the jobs of a trial that are left, and reports its result if it has one.

        Args:
            group: its jobs.
            known: Optuna's trial; None if the study has its result.
            left: the numbers of the jobs of the sweep that are to be run.
        """
        trial = optuna_private.open_trial(self._study, known) if known else None
        num_reported = max(known.intermediate_values, default=0) if known else 0
        entry = self._composed(trial, [(job.number, job.overrides) for job in group], num_reported=num_reported)
        if entry is None:
            return
        for job in entry.jobs:
            self._trials[job.number] = entry
            if job.number in left:
                self._waiting.append(job.resumed())
            else:  # perhaps the sweep was killed before the study had the result
                entry.results[job.number] = self._result(job)
        self._advance(entry)

    def next(self, structures: Collection[str]) -> Job | None:
        if not self._waiting:
            with self._studies.storage_errors():
                self._ask()
        if not self._waiting:
            return None
        known = [job for job in self._waiting if job.structure in structures]
        # a pruner decides after the first folds, so with one they run in their order
        job = known[0] if known and self._settings.pruner is None else self._waiting[0]
        self._waiting.remove(job)
        self._trials[job.number].running.add(job.number)
        return job

    def _ask(self) -> None:
        """Asks the study for a trial, whose jobs then wait; there is none after the last one."""
        while self._may_ask():
            trial, number = ask(self._study), self._next_number
            try:
                if self._watch:
                    optuna_private.send_heartbeat(self._study, trial)
                trial.set_user_attr(JOB, f"{self._folder.name}/{number}")
                words = self._suggested(trial)
            except update_finished_error():  # this machine was asleep meanwhile, and another one has taken it over
                continue
            self._next_number += self._num_folds
            jobs = list(enumerate(fold_words(words, self._num_folds), start=number))
            self._ledger.add(jobs)
            entry = self._composed(trial, jobs)
            if entry is not None:
                self._trials |= {job.number: entry for job in entry.jobs}
                self._waiting += entry.jobs
                return
            self._lower_total(len(jobs))

    def _may_ask(self) -> bool:
        """Returns whether a trial is left, which may be one that a lost machine has left."""
        if self._num_trials is None or not self._is_shared:
            return self._num_trials is None or self._next_number < self._num_trials * self._num_folds
        return is_trial_left(self._study, self._num_trials)

    def tick(self) -> None:
        if self._watch:
            with self._studies.storage_errors():
                self._watch.tick({entry.trial for entry in self._trials.values() if entry.trial is not None})

    def _composed(
        self, trial: Any, jobs: Sequence[tuple[int, list[str]]], *, num_reported: int = 0
    ) -> FoldTrial | None:
        """Returns a trial with its jobs; None after writing that they failed, if their values can't be combined."""
        try:
            composed = [self.composer(overrides, number).within(self._folder) for number, overrides in jobs]
        except (ConfigError, DataError) as error:
            if trial is not None:
                self._study.tell(trial, state=trial_states().FAIL)
            self._refuse(jobs, error)
            return None
        return FoldTrial(trial, composed, num_reported=num_reported)

    def should_prune(self, job: Job, progress: Progress) -> bool:
        """Reports the end of an epoch to the study, and returns whether its pruner stops the job.

        The epochs of a fold aren't reported: those of other trials may have been validated on other rows.
        """
        self._check_rows(job)
        entry = self._trials.get(job.number)
        if entry is None or entry.has_folds:
            return entry is not None and entry.end is not None
        trial, objective = entry.trial, next(iter(self._directions))
        if trial is None or not progress.ends_epoch or len(self._directions) > 1 or objective not in progress.values:
            return False
        value = progress.values[objective]
        if not math.isfinite(value):
            return False  # it isn't defined, or the run itself finds out that it diverged
        with self._studies.storage_errors():
            return not self._reported(entry, value, progress.epoch) or bool(trial.should_prune())

    def _reported(self, entry: FoldTrial, value: float, step: int) -> bool:
        """Reports a value to the pruner; returns False if another machine has taken the trial over meanwhile."""
        assert entry.trial is not None
        try:
            entry.trial.report(value, step)
        except update_finished_error():
            self._news.append(f"{entry.label}  another machine has taken it over")
            entry.trial = None  # the study gets no result of it
            return False
        return True

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Reports the result of a trial to the study, unless the job was stopped and will be resumed."""
        entry = self._trials.get(job.number)
        if entry is None:
            return
        entry.running.discard(job.number)
        if outcome.status == "stopped" and entry.end is None:
            return
        if outcome.status == "stopped":  # the trial has ended without it
            self._prune(job)
            if job.settings.logger:
                write_hparams_row(job, "pruned")
        result = entry.results[job.number] = self._result(job)
        if outcome.status == "completed":
            # with metric=auto they are known only once a job has read the data
            absent = [name for name in self._directions if name not in result.values]
            self._news += [f"warning: #{job.number} has no {name}, so the search learns nothing" for name in absent]
        self._advance(entry)

    def _check_rows(self, job: Job) -> None:
        """Checks once that a job trains on the rows of the study, unless that is what is searched. Raises DataError."""
        if job.number in self._checked or any(key.partition(".")[0] == "data" for key in self.space.keys):
            return
        self._checked.add(job.number)
        with self._studies.storage_errors():
            check_rows(self._study, job.folder.read_run())

    def _result(self, job: Job) -> Result:
        self._check_rows(job)
        return Result.read(job.folder, list(self._directions), take=self._settings.take)

    def _advance(self, entry: FoldTrial) -> None:
        """Asks the pruner after a job has ended; if the trial ends, prunes its other jobs and reports its result."""
        with self._studies.storage_errors():
            if entry.end is None or entry.end == "completed":
                self._report_folds(entry)
            if entry.end is None:
                return
            self._prune_waiting(entry)
            if not entry.running:
                for job in entry.jobs:
                    self._trials.pop(job.number, None)
                if entry.trial is not None:
                    self._tell(entry)

    def _report_folds(self, entry: FoldTrial) -> None:
        """Reports the means over the first folds of a trial, and asks the pruner unless all have completed."""
        if entry.trial is None or not entry.has_folds or len(self._directions) > 1:
            return
        for num_ended, mean in entry.unreported():
            if not self._reported(entry, mean, num_ended) or (entry.end is None and entry.trial.should_prune()):
                entry.is_pruned = True
                return

    def _prune_waiting(self, entry: FoldTrial) -> None:
        """Writes that the jobs of a trial that wait are pruned, because it has ended without them."""
        waiting = [job for job in self._waiting if self._trials.get(job.number) is entry]
        if waiting:
            completed = f"{entry.num_completed} of {len(entry.jobs)} folds"
            left_out = "1 is" if len(waiting) == 1 else f"{len(waiting)} are"
            self._news.append(f"{entry.label}  {entry.end} after {completed}, so {left_out} left out")
        for job in waiting:
            self._waiting.remove(job)
            self._prune(entry.resolved(job))
            entry.results[job.number] = self._result(job)
        self._lower_total(len(waiting))

    def _lower_total(self, count: int) -> None:
        """Counts jobs that the sweep does without."""
        if self.total is not None:
            self.total -= count

    def _prune(self, job: Job) -> None:
        """Writes that a job is pruned which has stopped, or never started."""
        job.write_pruned()
        self._ledger.record_state(job.number, "pruned")

    def _tell(self, entry: FoldTrial) -> None:
        """Reports the result of a trial to the study: its objectives, and the values that the constraints need."""
        trial, values = entry.trial, entry.values()
        assert trial is not None
        with contextlib.suppress(update_finished_error()):  # another machine has taken it over
            for text, distance in self._constraints.items():
                trial.set_constraint(text, distance(values))
        if entry.end == "completed":
            self._study.tell(trial, entry.objectives(), skip_if_finished=True)
        elif entry.end == "pruned":
            self._study.tell(trial, state=trial_states().PRUNED, skip_if_finished=True)
        else:
            self._study.tell(trial, state=trial_states().FAIL, skip_if_finished=True)

    def _add_news(self, line: str) -> None:
        self._news.append(line)

    def news(self) -> list[str]:
        news, self._news = self._news, []
        return news

    def _suggested(self, trial: Any) -> list[str]:
        """Returns the overrides with the values that Optuna suggests for a trial."""
        return self.space.overrides(self.space.choose(lambda dimension: dimension.suggest(trial)))

    def _refuse(self, jobs: Sequence[tuple[int, list[str]]], error: TfrunError) -> None:
        """Writes the jobs of a trial that can't run: the first as failed, its other folds as pruned."""
        for k, (number, overrides) in enumerate(jobs):
            folder = JobFolder(self._folder / str(number))
            folder.path.mkdir(exist_ok=True)
            if k:
                folder.write_end(overrides, {"status": "pruned"})
            else:
                folder.write_failure(
                    overrides, kind=type(error).__name__, message=str(error), exit_code=error.exit_code
                )
            self._ledger.record_state(number, "pruned" if k else "failed")
