"""A search: Optuna says what to try next and what to give up, the pool trains it.

The study is asked whenever a worker is free and told whenever a job has ended, so nobody waits for the slowest. It lies
in a database beside the jobs, or where several machines reach it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from tfrun.config.catalog import Catalog
from tfrun.config.compose import Session
from tfrun.config.cross_checks import monitored_values
from tfrun.config.directions import mode_of
from tfrun.errors import ConfigError, DataError, unknown
from tfrun.sweep import optuna_private, optuna_study, space
from tfrun.sweep.board import Outcome, read_outcome
from tfrun.sweep.jobs import Composer, Job, JobFolder
from tfrun.sweep.ledger import Ledger, Trial
from tfrun.sweep.sweeper_keys import read_settings
from tfrun.sweep.worker import Step

KEYS = {
    "n_trials": "Annotated[int, Ge(1)] | None",
    "sampler": "str | dict",
    "pruner": "str | dict | None",
    "seed": "int",
    "objectives": "dict | None",
    "take": "Literal['best', 'last']",
    "constraints": "list[str]",
    "params": "dict",
    "storage": "str | None",
    "study_name": "str | None",
}


class Search:
    """The jobs of a study, made up as others end.

    Args:
        session: Hydra and the components.
        sweep: the config that the jobs share; `hydra.sweeper` says how to search.
        threads: what each job gets.

    Raises:
        ConfigError: the space, a sampler, an objective or a value in the space is wrong.
    """

    def __init__(self, session: Session, sweep: DictConfig, threads: int | None = None):
        self._settings = read_settings(sweep.hydra.sweeper, KEYS)
        self.common, self.space = space.read(session, sweep, self._settings["params"])
        self.composer = Composer(session, sweep, {dimension.key for dimension in self.space}, threads)
        self.first = space.check(self.space, self._composed)[0]
        checkpoint = self.first.settings.checkpoint
        self.mode: str = checkpoint.mode
        self._objectives = self._checked_objectives({checkpoint.monitor: self.mode}, session.catalog)
        space.check_comparable(self.space, self._objectives)
        self._constraints = {text: optuna_study.constraint(text) for text in self._settings["constraints"]}
        self._make = optuna_study.opener(self._settings, self.space, self.first.settings, bool(self._constraints))
        if self._settings["pruner"] and len(self._objectives) > 1:
            raise ConfigError("hydra.sweeper.pruner: gives up by one objective, and there are several")
        self._trials: dict[int, Any] = {}
        self._resumed: list[Job] = []
        self.total: int | None = self._settings["n_trials"]
        if all(dimension.choices for dimension in self.space) and "grid" in str(self._settings["sampler"]):
            points = math.prod(len(dimension.choices) for dimension in self.space)
            self.total = min(self.total or points, points)

    def begin(self, folder: Path, ledger: Ledger, trials: Sequence[Trial] = (), left: Sequence[Trial] = ()) -> None:
        """Opens the study.

        Args:
            folder: the sweep's.
            ledger: takes new trials.
            trials: those that the sweep has already.
            left: those of them that are to be gone on with.

        Raises:
            ConfigError: the study is another sweep's, or can't be opened.
        """
        self._folder, self._ledger, self._next = folder, ledger, len(trials)
        self._study = self._make(folder, list(self._objectives.values()))
        space = [repr(dimension) for dimension in self.space]
        if self._study.user_attrs.setdefault("space", space) != space:
            raise ConfigError(
                f"hydra.sweeper.study_name: the study {self._study.study_name!r} is of another space: "
                "a new one needs another name"
            )
        self._study.set_user_attr("space", space)
        jobs = {trial.number: self.composer(trial.overrides, trial.number).within(folder) for trial in trials}
        for known in self._study.get_trials(deepcopy=False, states=(optuna_study.states().RUNNING,)):
            sweep, _, number = str(known.user_attrs.get("job")).rpartition("/")
            if sweep != folder.name:
                continue  # another machine's
            trial = optuna_private.open_trial(self._study, known)
            if int(number) not in jobs:
                self._study.tell(trial, state=optuna_study.states().FAIL)  # killed before the job was noted down
                continue
            self._trials[int(number)] = trial
            if int(number) not in {own.number for own in left}:  # killed before the study was told
                self.ended(jobs[int(number)], read_outcome(jobs[int(number)].folder, ()))
        self._resumed = [jobs[own.number].going_on() for own in left]

    def next(self, structures: Collection[str]) -> Job | None:
        if self._resumed:
            return self._resumed.pop(0)
        while self.total is None or self._next < self.total:
            trial = self._study.ask()
            number, self._next = self._next, self._next + 1
            trial.set_user_attr("job", f"{self._folder.name}/{number}")
            chosen: dict[str, str] = {}
            for dimension in self.space:
                if dimension.applies(chosen):
                    chosen[dimension.key] = dimension.suggest(trial)
            overrides = [*self.common, *(f"{key}={value}" for key, value in chosen.items())]
            self._ledger.add([(number, overrides)])
            try:
                job = self.composer(overrides, number).within(self._folder)
            except (ConfigError, DataError) as error:  # values that don't go together
                self._study.tell(trial, state=optuna_study.states().FAIL)
                refused = JobFolder(self._folder / str(number))
                refused.path.mkdir()
                refused.fail(overrides, type(error).__name__, str(error), error.exit_code)
                self._ledger.note(number, "failed")
                continue
            self._trials[number] = trial
            return job
        return None

    def like(self, job: Job, lanes: int, workers: int) -> list[Job]:
        """Returns none: a job is made up from those that have ended."""
        return []

    def lines(self) -> list[str]:
        return []

    def told(self, job: Job, step: Step) -> bool:
        trial = self._trials.get(job.number)
        (name,) = list(self._objectives)[:1]
        if trial is None or not step.ends_epoch or len(self._objectives) > 1 or name not in step.values:
            return False
        value = step.values[name]
        if not math.isfinite(value):
            return False  # the run says of itself that it diverged
        trial.report(value, step.epoch)
        return bool(trial.should_prune())

    def ended(self, job: Job, outcome: Outcome) -> None:
        trial = self._trials.pop(job.number, None)
        if trial is None:
            return
        run = job.folder.read_run()
        if outcome.status == "stopped":
            return  # it will be gone on with
        values = run.get("metrics" if self._settings["take"] == "last" else "best") or {}
        found = [values.get(name, run.get("metrics", {}).get(name)) for name in self._objectives]
        if self._constraints:
            everything = {**run.get("metrics", {}), **values, "parameters": run.get("parameters")}
            for text, distance in self._constraints.items():
                trial.set_constraint(text, distance(everything))
        if outcome.status == "completed" and all(isinstance(value, int | float) for value in found):
            self._study.tell(trial, found)
        elif outcome.status == "pruned":
            self._study.tell(trial, state=optuna_study.states().PRUNED)
        else:
            self._study.tell(trial, state=optuna_study.states().FAIL)

    def _composed(self, chosen: Mapping[str, str]) -> Job:
        return self.composer([*self.common, *(f"{key}={value}" for key, value in chosen.items())], 0)

    def _checked_objectives(self, default: dict[str, str], catalog: Catalog) -> dict[str, str]:
        objectives = self._settings["objectives"] or default
        known = monitored_values(self.first.settings)
        directions: dict[str, str] = {}
        for name, direction in objectives.items():
            if name not in known:
                raise unknown("hydra.sweeper.objectives", "value", str(name), known)
            if direction not in ("min", "max", None):
                raise ConfigError(f"hydra.sweeper.objectives.{name}: must be min, max or null. Received: {direction!r}")
            mode = direction or mode_of(str(name), self.first.settings.metric, catalog)
            directions[str(name)] = f"{mode}imize"
        return directions
