"""A search: Optuna suggests the values of each job and prunes unpromising ones; the pool trains the jobs.

The study is asked for values whenever a worker is free, and gets a result whenever a job has ended, so no worker waits
for the slowest job. The study is in a database beside the jobs, or in one that several machines can reach.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from tfrun.config.catalog import Catalog
from tfrun.config.compose import Configs
from tfrun.config.cross_checks import monitored_values
from tfrun.config.directions import contradiction, require_mode
from tfrun.errors import ConfigError, DataError, TfrunError, unknown
from tfrun.files.strict_json import defined
from tfrun.sweep import optuna_private
from tfrun.sweep.composer import Composer
from tfrun.sweep.jobs import Job, JobFolder
from tfrun.sweep.ledger import Ledger, Trial
from tfrun.sweep.messages import Progress
from tfrun.sweep.optuna_study import Direction, Studies, parse_constraint, trial_states
from tfrun.sweep.outcome import Outcome, read_outcome
from tfrun.sweep.source import Source
from tfrun.sweep.space import Space
from tfrun.sweep.sweep_settings import SearchSettings, read_settings
from tfrun.sweep.words import sweeper_params


class Search(Source):
    """The jobs of a study, each chosen when a worker is free.

    Args:
        settings: of the search.
        space: what is searched.
        composer: makes the jobs.
        first: a job of the space.
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
        self._trials: dict[int, Any] = {}  # Optuna's, by the number of the job
        self._resumed: list[Job] = []
        self.total: int | None = settings.n_trials
        if all(dimension.choices for dimension in space.dimensions) and "grid" in str(settings.sampler):
            num_points = math.prod(len(dimension.choices) for dimension in space.dimensions)
            self.total = min(self.total or num_points, num_points)

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
        first = [composer(space.overrides(values), 0) for values in space.probes()][0]
        studies = Studies.check(settings, space, max_epochs=first.settings.trainer.max_epochs)
        directions = _directions(settings, first, catalog=configs.catalog)
        news = _objectives_against(settings, first, catalog=configs.catalog)
        return cls(settings, space, composer=composer, first=first, studies=studies, directions=directions, news=news)

    @property
    def first(self) -> Job:
        return self._first

    def begin(self, folder: Path, ledger: Ledger, *, trials: Sequence[Trial] = (), left: Sequence[Trial] = ()) -> None:
        """Opens the study.

        Raises:
            ConfigError: the study belongs to another sweep, or can't be opened.
        """
        self._folder = folder
        self._ledger = ledger
        self._next_number = len(trials)
        self._study = self._studies.open(folder, list(self._directions.values()), is_resumed=bool(trials))
        self._check_space()
        jobs = {trial.number: self.composer(trial.overrides, trial.number).within(folder) for trial in trials}
        left_numbers = {trial.number for trial in left}
        for known in self._study.get_trials(deepcopy=False, states=(trial_states().RUNNING,)):
            sweep, _, text = str(known.user_attrs.get("job")).rpartition("/")
            if sweep != folder.name:
                continue  # it belongs to another machine
            number = int(text)
            trial = optuna_private.open_trial(self._study, known)
            if number not in jobs:  # the sweep was killed before the ledger had the job
                self._study.tell(trial, state=trial_states().FAIL)
                continue
            self._trials[number] = trial
            if number not in left_numbers:  # the sweep was killed before the study had the result
                self.ended(jobs[number], read_outcome(jobs[number].folder, ()))
        self._resumed = [jobs[trial.number].resumed() for trial in left]

    def next(self, structures: Collection[str]) -> Job | None:
        if self._resumed:
            return self._resumed.pop(0)
        with self._studies.storage_errors():
            return self._new_job()

    def _new_job(self) -> Job | None:
        """Returns a job that the study chooses; None after the last one."""
        while self.total is None or self._next_number < self.total:
            trial = self._study.ask()
            number = self._next_number
            self._next_number += 1
            trial.set_user_attr("job", f"{self._folder.name}/{number}")
            overrides = self._suggested(trial)
            self._ledger.add([(number, overrides)])
            try:
                job = self.composer(overrides, number).within(self._folder)
            except (ConfigError, DataError) as error:  # these values can't be combined
                self._study.tell(trial, state=trial_states().FAIL)
                self._refuse(number, overrides, error=error)
                continue
            self._trials[number] = trial
            return job
        return None

    def should_prune(self, job: Job, progress: Progress) -> bool:
        """Reports the end of an epoch to the study, and returns whether its pruner stops the job."""
        trial = self._trials.get(job.number)
        objective = next(iter(self._directions))
        if trial is None or not progress.ends_epoch or len(self._directions) > 1 or objective not in progress.values:
            return False
        value = progress.values[objective]
        if not math.isfinite(value):
            return False  # it isn't defined, or the run itself finds out that it diverged
        with self._studies.storage_errors():
            trial.report(value, progress.epoch)
            return bool(trial.should_prune())

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Reports the result of a job to the study, unless the job was stopped and will be resumed."""
        trial = self._trials.pop(job.number, None)
        if trial is None or outcome.status == "stopped":
            return
        run = job.folder.read_run()
        last = run.get("metrics", {})
        values = run.get("metrics" if self._settings.take == "last" else "best") or {}
        objectives = [defined(values.get(name, last.get(name))) for name in self._directions]
        known = {**last, **values, "parameters": run.get("parameters")}
        if outcome.status == "completed":
            # with metric=auto they are known only once a job has read the data
            absent = [name for name in self._directions if name not in known]
            self._news += [f"warning: #{job.number} has no {name}, so the search learns nothing" for name in absent]
        with self._studies.storage_errors():
            self._tell(trial, outcome, objectives=objectives, known=known)

    def _tell(
        self, trial: Any, outcome: Outcome, *, objectives: Sequence[float | None], known: Mapping[str, Any]
    ) -> None:
        """Reports the result of a trial to the study: its objectives, and the values that the constraints need."""
        for text, distance in self._constraints.items():
            trial.set_constraint(text, distance(known))
        if outcome.status == "completed" and None not in objectives:
            self._study.tell(trial, objectives)
        elif outcome.status == "pruned":
            self._study.tell(trial, state=trial_states().PRUNED)
        else:
            self._study.tell(trial, state=trial_states().FAIL)

    def news(self) -> list[str]:
        news, self._news = self._news, []
        return news

    def _suggested(self, trial: Any) -> list[str]:
        """Returns the overrides with the values that Optuna suggests for a trial."""
        return self.space.overrides(self.space.choose(lambda dimension: dimension.suggest(trial)))

    def _check_space(self) -> None:
        """Saves the space in the study. Raises ConfigError if the study has another one."""
        space = [repr(dimension) for dimension in self.space.dimensions]
        if self._study.user_attrs.get("space", space) != space:
            raise ConfigError(
                f"hydra.sweeper.study_name: the study {self._study.study_name!r} has another search space: "
                "a new one needs another name"
            )
        self._study.set_user_attr("space", space)

    def _refuse(self, number: int, overrides: Sequence[str], *, error: TfrunError) -> None:
        """Writes a job that can't run as failed."""
        folder = JobFolder(self._folder / str(number))
        folder.path.mkdir()
        folder.write_failure(overrides, kind=type(error).__name__, message=str(error), exit_code=error.exit_code)
        self._ledger.record_state(number, "failed")


def _directions(settings: SearchSettings, first: Job, *, catalog: Catalog) -> dict[str, Direction]:
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


def _objectives_against(settings: SearchSettings, first: Job, *, catalog: Catalog) -> list[str]:
    """Returns a warning for each objective that seeks those values that its metric calls worse."""
    against = {
        f"hydra.sweeper.objectives.{name}={mode}": contradiction(name, mode, first.settings.metric, catalog)
        for name, mode in (settings.objectives or {}).items()
        if mode
    }
    return [f"warning: {where}, but {reason}" for where, reason in against.items() if reason]
