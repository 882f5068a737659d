"""A search: Optuna says what to try next and what to give up, the pool trains it.

The study is asked whenever a worker is free and told whenever a job has ended, so nobody waits for the slowest. It lies
in a database beside the jobs, or where several machines reach it.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf

from tfrun.compose import USER_MISTAKES, Session
from tfrun.errors import ConfigError, DataError, TfrunError, unknown
from tfrun.sweep.jobs import Composer, Job, JobFolder
from tfrun.sweep.ledger import Ledger, Trial
from tfrun.sweep.table import Outcome, read_outcome
from tfrun.sweep.worker import Step

SAMPLERS = {
    "tpe": "TPESampler",
    "cmaes": "CmaEsSampler",
    "gp": "GPSampler",
    "random": "RandomSampler",
    "grid": "GridSampler",
    "nsgaii": "NSGAIISampler",
}
PRUNERS = {
    "median": "MedianPruner",
    "asha": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
    "percentile": "PercentilePruner",
}
COMPARISONS = {"<=": operator.sub, "<": operator.sub, ">=": lambda a, b: b - a, ">": lambda a, b: b - a}
KEYS = ("n_trials", "sampler", "pruner", "seed", "objectives", "take", "constraints", "params", "storage", "study_name")


@dataclass(frozen=True)
class Dimension:
    """One key of the space.

    Attributes:
        key: as in an override.
        low, high, log: of an interval; whole numbers only where both are.
        choices: as in an override, instead of an interval.
        when: the values of another key with which this one counts; none is always.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[str, ...] = ()
    when: tuple[str, tuple[str, ...]] | None = None

    @property
    def probes(self) -> list[str]:
        """Returns the values that are checked before anything runs: all choices, or both ends."""
        return list(self.choices) or [_text(self.low), _text(self.high)]

    def applies(self, chosen: Mapping[str, str]) -> bool:
        return self.when is None or chosen.get(self.when[0]) in self.when[1]

    def suggest(self, trial: Any) -> str:
        """Returns a value for a trial, as text."""
        if self.choices:
            return str(trial.suggest_categorical(self.key, self.choices))
        if isinstance(self.low, int) and isinstance(self.high, int):
            return str(trial.suggest_int(self.key, self.low, self.high, log=self.log))
        return _text(trial.suggest_float(self.key, self.low, self.high, log=self.log))


class Search:
    """The jobs of a study, made up as others end.

    Args:
        session: Hydra and the components.
        sweep: the config that the jobs share; `hydra.sweeper` says how to search.

    Raises:
        ConfigError: the space, a sampler, an objective or a value in the space is wrong.
    """

    def __init__(self, session: Session, sweep: DictConfig):
        self._settings: dict[str, Any] = _settings(sweep.hydra.sweeper)
        self.common, self.space = _space(session, sweep, self._settings["params"])
        self.composer = Composer(session, sweep, {dimension.key for dimension in self.space})
        self.first = self._check_space()
        checkpoint = self.first.config["checkpoint"]
        self._monitor = checkpoint["monitor"]
        self.mode: str = checkpoint["mode"]
        self._objectives = self._checked_objectives(self.mode)
        self._constraints = {text: _constraint(text) for text in self._settings["constraints"]}
        self._make = _optuna(self._settings, self.space, self.first.config, bool(self._constraints))
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
        from optuna.trial import Trial as OptunaTrial

        jobs = {trial.number: self.composer(trial.overrides, trial.number).within(folder) for trial in trials}
        for known in self._study.get_trials(deepcopy=False, states=(_states().RUNNING,)):
            sweep, _, number = str(known.user_attrs.get("job")).rpartition("/")
            if sweep != folder.name:
                continue  # another machine's
            trial = OptunaTrial(self._study, known._trial_id)
            if int(number) not in jobs:
                self._study.tell(trial, state=_states().FAIL)  # killed before the job was noted down
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
                self._study.tell(trial, state=_states().FAIL)
                refused = JobFolder(self._folder / str(number))
                refused.path.mkdir()
                refused.fail(overrides, type(error).__name__, str(error), error.exit_code)
                self._ledger.note(number, "failed")
                continue
            self._trials[number] = trial
            return job
        return None

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
            self._study.tell(trial, state=_states().PRUNED)
        else:
            self._study.tell(trial, state=_states().FAIL)

    def _check_space(self) -> Job:
        """Composes and checks a job for each choice and each end of an interval; returns the first one."""
        chosen: dict[str, str] = {}
        known = {dimension.key: dimension for dimension in self.space if dimension.when is None}
        for dimension in self.space:
            where = f"hydra.sweeper.params.{dimension.key}.when"
            if dimension.when and dimension.when[0] not in known:
                raise unknown(where, "key of the space", dimension.when[0], known)
            for value in dimension.when[1] if dimension.when else ():
                choices = known[dimension.when[0]].choices if dimension.when else ()
                if value not in choices:
                    raise unknown(where, "choice", value, choices)
            if dimension.applies(chosen):
                chosen[dimension.key] = dimension.probes[0]
        first = self._composed(chosen)
        for dimension in self.space:
            for probe in dimension.probes:
                own = {**chosen, dimension.key: probe}
                if dimension.when:
                    own[dimension.when[0]] = dimension.when[1][0]
                own = {other.key: own.get(other.key, other.probes[0]) for other in self.space if other.applies(own)}
                self._composed(own)
        return first

    def _composed(self, chosen: Mapping[str, str]) -> Job:
        return self.composer([*self.common, *(f"{key}={value}" for key, value in chosen.items())], 0)

    def _checked_objectives(self, mode: str) -> dict[str, str]:
        objectives = self._settings["objectives"] or {self._monitor: mode}
        known = [f"{split}/{name}" for split in ("val", "train") for name in ("loss", *self.first.config["metric"])]
        for name, direction in objectives.items():
            if name not in known:
                raise unknown("hydra.sweeper.objectives", "value", str(name), known)
            if direction not in ("min", "max"):
                raise ConfigError(f"hydra.sweeper.objectives.{name}: must be min or max. Received: {direction!r}")
        return {str(name): f"{direction}imize" for name, direction in objectives.items()}


def _settings(sweeper: DictConfig) -> dict[str, Any]:
    settings: Any = OmegaConf.to_container(sweeper, resolve=True)
    settings.pop("_target_")
    for key in settings:
        if key not in KEYS:
            raise unknown("hydra.sweeper", "key", key, KEYS)
    count, take = settings["n_trials"], settings["take"]
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        raise ConfigError(f"hydra.sweeper.n_trials: must be a whole number of 1 or more, or null. Received: {count!r}")
    if take not in ("best", "last"):
        raise ConfigError(f"hydra.sweeper.take: must be best or last. Received: {take!r}")
    if not isinstance(settings["params"], dict):
        raise ConfigError(f"hydra.sweeper.params: must be a mapping. Received: {settings['params']!r}")
    return settings


def _space(session: Session, sweep: DictConfig, params: Mapping[str, Any]) -> tuple[list[str], list[Dimension]]:
    """Returns the overrides that all jobs share, and the space: `hydra.sweeper.params`, then the command line's."""
    parser = OverridesParser.create(config_loader=session.hydra.config_loader)
    common, space = [], dict[str, Dimension]()
    try:
        for key, given in params.items():
            value, when = (given.get("value"), given.get("when")) if isinstance(given, dict) else (given, None)
            text = ",".join(map(str, value)) if isinstance(value, list) else value
            dimension = _dimension(parser.parse_override(f"{key}={text}"), _condition(key, when))
            if dimension is None:
                common.append(f"{key}={text}")
            else:
                space[key] = dimension
        for text in sweep.hydra.overrides.task:
            override = parser.parse_override(text)
            dimension = _dimension(override, None)
            if dimension is None:
                common.append(text.lstrip("+"))
            else:
                space[dimension.key] = dimension
    except USER_MISTAKES as error:
        raise session.explain(error) from error
    if not space:
        raise ConfigError(
            "hydra.sweeper.params: an empty space. Try 'optimizer.learning_rate=tag(log,interval(1e-4,1e-1))'"
        )
    return common, sorted(space.values(), key=lambda dimension: dimension.when is not None)


def _condition(key: str, when: Any) -> tuple[str, tuple[str, ...]] | None:
    if when is None:
        return None
    other, is_there, values = str(when).partition("=")
    if not is_there or not values:
        raise ConfigError(f"hydra.sweeper.params.{key}.when: must be like model=mlp. Received: {when!r}")
    return other.strip(), tuple(value.strip() for value in values.split(","))


def _dimension(override: Override, when: tuple[str, tuple[str, ...]] | None) -> Dimension | None:
    """Returns what an override sweeps over, or None where it doesn't."""
    key, sweep = override.key_or_group, override._value
    if isinstance(sweep, IntervalSweep):
        low, high, log = sweep.start, sweep.end, "log" in sweep.tags
        assert low is not None and high is not None
        if not low < high or (log and low <= 0):
            wanted = "0 < low < high" if log else "low < high"
            raise ConfigError(f"{key}: an interval needs {wanted}. Received: {override.input_line!r}")
        return Dimension(key, low, high, log, when=when)
    if isinstance(sweep, ChoiceSweep | RangeSweep):
        choices = tuple(dict.fromkeys(override.sweep_string_iterator()))
        if not choices:
            raise ConfigError(f"{key}: an empty range. Received: {override.input_line!r}")
        if isinstance(sweep, RangeSweep) and sweep.step == 1 and isinstance(sweep.start, int):
            return Dimension(key, int(choices[0]), int(choices[-1]), when=when) if len(choices) > 1 else None
        return Dimension(key, choices=choices, when=when)
    return None


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"  # as many digits as a person wants to read


def _constraint(text: str) -> Any:
    """Returns what gives how far values are from holding a constraint; 0 and below holds it."""
    found = re.fullmatch(r"\s*([\w/.-]+)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*", str(text))
    try:
        assert found
        name, compare, bound = found[1], COMPARISONS[found[2]], float(found[3])
    except (AssertionError, ValueError):
        raise ConfigError(f"hydra.sweeper.constraints: must be like 'val/mae < 50000'. Received: {text!r}") from None
    return lambda values: float(compare(values[name], bound)) if values.get(name) is not None else math.inf


def _states() -> Any:
    from optuna.trial import TrialState

    return TrialState


def _optuna(
    settings: Mapping[str, Any], space: Sequence[Dimension], config: Mapping[str, Any], constrained: bool
) -> Any:
    """Returns what opens a study in a folder. Raises ConfigError for what Optuna won't take."""
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise ConfigError("hydra/sweeper=search: needs Optuna. Install it with: pip install 'tfrun[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler, pruner = _named("sampler", settings, SAMPLERS), _named("pruner", settings, PRUNERS)
    assert sampler is not None
    name, options = sampler
    if name == "grid":
        if any(not dimension.choices for dimension in space):
            raise ConfigError("hydra.sweeper.sampler: grid needs choices, not intervals")
        options["search_space"] = {dimension.key: list(dimension.choices) for dimension in space}
    if name == "tpe":
        options = {"constant_liar": True, **options}  # several jobs run at once
    if constrained and name not in ("tpe", "gp", "nsgaii"):
        raise ConfigError(f"hydra.sweeper.constraints: the samplers tpe, gp and nsgaii take them. Received: {name!r}")
    if pruner and pruner[0] == "hyperband":
        pruner[1].setdefault("max_resource", config["trainer"]["max_epochs"] or "auto")
    try:
        kind = getattr(optuna.samplers, SAMPLERS[name])
        if name == "grid":  # it would stop Optuna's own loop, which doesn't run here, at its last point
            kind = type("Grid", (kind,), {"after_trial": lambda *_: None})
        made = kind(seed=settings["seed"], **options)
        given_up = getattr(optuna.pruners, PRUNERS[pruner[0]])(**pruner[1]) if pruner else optuna.pruners.NopPruner()
    except (TypeError, ValueError, ImportError) as error:
        raise ConfigError(f"hydra.sweeper.sampler, pruner: {' '.join(str(error).split())}") from error

    def open_study(folder: Path, directions: list[Any]) -> Any:
        place = settings["storage"] or f"sqlite:///{folder / 'study.db'}"
        try:
            storage: Any = place
            if place.startswith("journal:"):
                backend = JournalFileBackend(place.removeprefix("journal:"))
                storage = optuna.storages.JournalStorage(backend)
            study = optuna.create_study(
                storage=storage,
                sampler=made,
                pruner=given_up,
                study_name=settings["study_name"] or folder.name,
                directions=directions,
                load_if_exists=True,
            )
            if [direction.name.lower() for direction in study.directions] != directions:
                raise ConfigError(f"the study {study.study_name!r} has other objectives: a new one needs another name")
        except TfrunError:
            raise
        except Exception as error:
            raise ConfigError(
                f"hydra.sweeper.storage: {place!r} can't be used: {' '.join(str(error).split())}"
            ) from error
        return study

    return open_study


def _named(key: str, settings: Mapping[str, Any], known: Mapping[str, str]) -> tuple[str, dict[str, Any]] | None:
    """Returns the name and the options of a sampler or pruner."""
    given = settings[key]
    if given is None and key == "pruner":
        return None
    options = dict(given) if isinstance(given, dict) else {"name": given}
    name = str(options.pop("name", None))
    if name not in known:
        raise unknown(f"hydra.sweeper.{key}", key, name, known)
    return name, options
