"""Population-based training: the worst members copy the state of the best and try other values.

    each member trains for a generation     every_epochs epochs; then it pauses and its state is saved
    it is resumed                           as soon as enough others are known to be worse
    the worst are replaced                  a new job starts from a copy of one of the best, with changed values

Whether a member is replaced depends only on the values of its generation, not on which job ended first. So a sweep
gives the same jobs with any number of processes, and a killed sweep can be resumed as if nothing had happened.

Source: Jaderberg et al., "Population based training of neural networks", 2017, arXiv:1711.09846 (truncation selection;
values are multiplied by 0.8 or 1.2, or drawn anew).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from tfrun.config import automatic
from tfrun.config.automatic import MIN_EPOCHS
from tfrun.config.catalog import Catalog
from tfrun.config.changes import recorded
from tfrun.config.compose import Configs
from tfrun.config.plain import read_yaml
from tfrun.config.schema import build_settings
from tfrun.config.settings import Settings
from tfrun.errors import ConfigError, DataError
from tfrun.files import checkpoints, copy_run
from tfrun.files.strict_json import defined
from tfrun.sweep.composer import Composer
from tfrun.sweep.jobs import LENGTH_KEYS, Job, JobFolder
from tfrun.sweep.ledger import Ledger, Trial
from tfrun.sweep.outcome import Outcome
from tfrun.sweep.source import Source
from tfrun.sweep.space import Dimension, Space
from tfrun.sweep.sweep_settings import PopulationSettings, read_settings
from tfrun.sweep.task import write_hparams_row
from tfrun.sweep.words import sweeper_params


@dataclass
class Member:
    """A place in the population, which jobs occupy one after another.

    Attributes:
        number: of the place.
        job: the job that occupies it now.
        values: the job's values in the search space.
        scores: one for each completed generation, smaller is better; a failure is inf.
        num_decided: the number of generations after which it is decided whether the member is resumed or replaced.
        is_running: whether its job is training.
        is_over: whether it has trained all its epochs, or can't be replaced.
    """

    number: int
    job: Job
    values: dict[str, str]
    scores: list[float] = field(default_factory=list)
    num_decided: int = 0
    is_running: bool = False
    is_over: bool = False


class Population(Source):
    """The jobs of population-based training, each in its own folder.

    Args:
        settings: of the population.
        space: the values that members try.
        composer: makes the jobs.
        probes: jobs with values from all parts of the space.
        catalog: the components.

    Raises:
        ConfigError: the jobs can't share their state, or their length isn't fixed.
    """

    def __init__(
        self,
        settings: PopulationSettings,
        space: Space,
        *,
        composer: Composer,
        probes: Sequence[Job],
        catalog: Catalog,
    ):
        self.composer = composer
        self._catalog = catalog
        self.total: int | None = None
        self._first = probes[0]
        self.mode = self._first.settings.checkpoint.mode
        self._monitor = self._first.settings.checkpoint.monitor
        self._settings = settings
        self._space = space
        self._every = settings.every_epochs
        self._max_epochs = _check_lengths(self._first.settings, self._every)
        if len({(job.structure, job.settings.data.fold) for job in probes}) > 1:
            raise ConfigError(
                "hydra.sweeper.params: members copy each other's state, so the space may contain only numbers with a "
                f"fraction of loss, optimizer, algorithm and trainer. Received: {', '.join(space.keys)}"
            )
        space.check_comparable([self._monitor])
        self._num_replaced = max(1, int(settings.replaced * settings.population))
        self._members: list[Member] = []
        self._news: list[str] = []
        self._num_released = 0  # generations whose checkpoints no other member can need any more

    @classmethod
    def from_config(cls, configs: Configs, sweep: DictConfig, *, threads: int | None = None) -> Population:
        """Reads and checks the population of `hydra.sweeper`.

        Args:
            configs: Hydra and the components.
            sweep: the config that the jobs share.
            threads: the number of threads of each job; None means one per core.

        Raises:
            ConfigError: a setting, the space or a value in it is wrong.
        """
        settings = read_settings(sweep.hydra.sweeper, PopulationSettings, where="hydra.sweeper")
        space = Space.read(configs, sweep, params=sweeper_params(sweep))
        composer = Composer(configs, sweep, swept=space.keys, threads=threads, auto_epochs=MIN_EPOCHS)
        probes = [composer(space.overrides(values), 0) for values in space.probes()]
        return cls(settings, space, composer=composer, probes=probes, catalog=configs.catalog)

    @property
    def first(self) -> Job:
        return self._first

    @property
    def at_once(self) -> int | None:
        return self._settings.population

    def begin(self, folder: Path, ledger: Ledger, *, trials: Sequence[Trial] = (), left: Sequence[Trial] = ()) -> None:
        """Makes the first members, or finds out where those of a stopped sweep were."""
        self._folder = folder
        self._ledger = ledger
        trials = [*trials, *self._first_trials(len(trials))]
        self._next_number = len(trials)
        count = self._settings.population
        self._members = [Member(k, *self._job(trial)) for k, trial in enumerate(trials[:count])]
        for trial in trials[count:]:
            assert trial.branch is not None
            member = self._members[trial.branch["replaces"]]
            num_decided = trial.branch["generation"] + 1
            self._read_scores(member, num_decided)
            member.scores += [math.inf] * (num_decided - len(member.scores))
            member.num_decided = num_decided
            self._occupy(member, trial)
        left_numbers = {trial.number for trial in left}
        for member in self._members:
            epoch = member.job.folder.read_run().get("epoch", 0)
            member.num_decided = max(member.num_decided, (epoch - 1) // self._every)
            self._update(member, is_left=member.job.number in left_numbers)
        self._num_released = min(member.num_decided for member in self._members)
        if not left:
            worst = "worst copies" if self._num_replaced == 1 else f"{self._num_replaced} worst copy"
            self._news.append(f"{count} members; every {self._every} epochs the {worst} the state of the best")

    def next(self, structures: Collection[str]) -> Job | None:
        for member in sorted(self._members, key=lambda member: (len(member.scores), member.number)):
            if not member.is_running and not member.is_over and self._decide(member):
                member.is_running = True
                return member.job.resumed(pause_epoch=(len(member.scores) + 1) * self._every)
        return None

    def ended(self, job: Job, outcome: Outcome) -> None:
        member = next(member for member in self._members if member.job.number == job.number)
        member.is_running = False
        generation = len(member.scores)
        self._update(member, is_left=False)
        if len(member.scores) > generation and all(len(other.scores) > generation for other in self._members):
            self._report(generation)

    def news(self) -> list[str]:
        news, self._news = self._news, []
        return news

    def _first_trials(self, num_known: int) -> list[Trial]:
        """Returns the first trials that the ledger doesn't have yet, after writing them to it."""
        trials: list[Trial] = []
        for number in range(num_known, self._settings.population):
            values = self._explored({}, self._rng(0, number))
            trials.append(Trial(number, "waiting", self._space.overrides(values)))
            self._ledger.add([(number, trials[-1].overrides)])
        return trials

    def _job(self, trial: Trial) -> tuple[Job, dict[str, str]]:
        """Returns a trial's job and its values."""
        job = self.composer(trial.overrides, trial.number).within(self._folder)
        return job, self._space.values_of(trial.overrides)

    # What a member has reached

    def _update(self, member: Member, *, is_left: bool) -> None:
        """Reads from its folder what the job of a member that isn't running has reached.

        Args:
            member: the member.
            is_left: whether its job is to be run again even if it failed.
        """
        folder = member.job.folder
        run = folder.read_run()
        self._read_scores(member)
        is_last = (len(member.scores) + 1) * self._every >= self._max_epochs
        if run.get("status") == "completed":
            member.is_over = True
        elif run.get("status") in ("failed", "diverged") and not is_left:
            member.scores.append(math.inf)
            member.is_over = is_last  # otherwise another job replaces it
        elif member.num_decided < len(member.scores):
            checkpoints.pin(folder.checkpoints, run["step"])  # others may copy it after this job has been resumed

    def _read_scores(self, member: Member, max_scores: float = math.inf) -> None:
        """Adds the scores of the generations that a member's job has completed and saved."""
        epoch = member.job.folder.read_run().get("epoch", 0)
        while len(member.scores) < max_scores and epoch >= (len(member.scores) + 1) * self._every:
            values = self._values_after(member.job, len(member.scores))
            member.scores.append(_score(values.get(self._monitor), self.mode))

    def _values_after(self, job: Job, generation: int) -> dict[str, Any]:
        """Returns the line of `metrics.jsonl` at the end of a generation."""
        lines = job.folder.read_metrics()
        return next(line for line in lines if line["epoch"] == (generation + 1) * self._every)

    def _members_after(self, generation: int) -> list[Member]:
        """Returns the members that have completed a generation or failed in it."""
        return [member for member in self._members if len(member.scores) > generation]

    def _ranked(self, generation: int) -> list[Member]:
        """Returns the members that have completed a generation without failing, the best first."""
        finite = [member for member in self._members_after(generation) if math.isfinite(member.scores[generation])]
        return sorted(finite, key=lambda member: (member.scores[generation], member.number))

    # Who is resumed, and who is replaced by whom

    def _decide(self, member: Member) -> bool:
        """Returns whether a member can train its next generation now, after replacing its job if it is a worst one."""
        if member.num_decided >= len(member.scores):
            return True
        survives = self._survives(member)
        if survives is None or not (survives or self._replace(member)):
            return False
        member.num_decided = len(member.scores)
        self._release_checkpoints()
        return True

    def _survives(self, member: Member) -> bool | None:
        """Returns whether a member is not among the worst of its last generation; None if that isn't known yet."""
        generation = member.num_decided
        rank = (member.scores[generation], member.number)
        known = [(other.scores[generation], other.number) for other in self._members_after(generation)]
        num_worse = sum(other > rank for other in known)
        if math.isfinite(member.scores[generation]) and num_worse >= self._num_replaced:
            return True
        return None if len(known) < len(self._members) else False

    def _replace(self, member: Member) -> bool:
        """Replaces a member's job by a new one that starts from one of the best; returns False if there is none."""
        generation = member.num_decided
        best = self._ranked(generation)[: self._num_replaced]
        if not best:
            member.is_over = True
            return False
        rng = self._rng(generation + 1, member.number)
        source = best[rng.integers(len(best))]
        number = self._next_number
        self._next_number += 1
        overrides = self._space.overrides(self._explored(source.values, rng))
        try:
            self.composer(overrides, number)
        except (ConfigError, DataError):  # these values can't be combined
            overrides = self._space.overrides(source.values)
        branch = {
            "from": source.job.number,
            "epoch": (generation + 1) * self._every,
            "generation": generation,
            "replaces": member.number,
        }
        self._ledger.add([(number, overrides)], branch)
        self._news.append(f"#{number} starts from a copy of #{source.job.number} and replaces #{member.job.number}")
        self._occupy(member, Trial(number, "waiting", overrides, branch))
        return True

    def _occupy(self, member: Member, trial: Trial) -> None:
        """Replaces a member's job by one that starts from a copy of another's state; can be repeated after a crash."""
        assert trial.branch is not None
        old = member.job
        member.job, member.values = self._job(trial)
        if not member.job.folder.run_json.exists():
            source = JobFolder(self._folder / str(trial.branch["from"]))
            line = next(line for line in source.read_metrics() if line["epoch"] == trial.branch["epoch"])
            # so that `auto` means what it has become for the source
            config = automatic.as_resolved(member.job.config, read_yaml(source.config_yaml))
            settings = build_settings(config, self._catalog, overrides=member.job.overrides)
            groups = settings.groups
            rates = {name: group.learning_rate for name, group in groups.items() if group.learning_rate is not None}
            member.job.folder.path.mkdir(exist_ok=True)
            copy_run.begin(
                source,
                line["epoch"],
                step=line["step"],
                target=member.job.folder,
                rates=rates,
                config=recorded(settings),
                words=member.job.words,
            )
        run = old.folder.read_run()
        if run.get("status") == "stopped":
            old.folder.write_run(run | {"status": "pruned"})
            self._ledger.record_state(old.number, "pruned")
            if old.settings.logger:
                write_hparams_row(old, "pruned")

    def _release_checkpoints(self) -> None:
        """Unpins the checkpoints of generations after which every member has been resumed or replaced."""
        num_decided = min(member.num_decided for member in self._members if not member.is_over)
        for generation in range(self._num_released, num_decided):
            for member in self._members_after(generation):
                if math.isfinite(member.scores[generation]):
                    step = self._values_after(member.job, generation)["step"]
                    checkpoints.unpin(member.job.folder.checkpoints, step)
                    if not member.is_running:  # otherwise its next save removes the old ones
                        checkpoints.remove_old(member.job.folder.checkpoints, member.job.settings.checkpoint.keep)
        self._num_released = max(self._num_released, num_decided)

    def _report(self, generation: int) -> None:
        epoch = (generation + 1) * self._every
        ranked = self._ranked(generation)
        if not ranked:
            self._news.append(f"epoch {epoch}: every member has failed")
            return
        sign = 1 if self.mode == "min" else -1
        best, worst = (
            f"{sign * member.scores[generation]:.5g} (#{member.job.number})" for member in (ranked[0], ranked[-1])
        )
        self._news.append(f"epoch {epoch}: {self._monitor} {best} to {worst}")

    # Values

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self._settings.seed, *key])

    def _explored(self, values: Mapping[str, str], rng: np.random.Generator) -> dict[str, str]:
        """Returns values near those of another job, some of them drawn anew; all of them for a key without a value."""

        def explore(dimension: Dimension) -> str:
            is_new = dimension.key not in values or rng.random() < self._settings.drawn_anew
            factor = self._settings.factors[rng.integers(len(self._settings.factors))]
            return dimension.draw(rng) if is_new else dimension.near(values[dimension.key], factor)

        return self._space.choose(explore)


def _score(value: Any, mode: str) -> float:
    """Returns a value so that smaller is better; a value that isn't defined becomes inf, the worst."""
    number = defined(value)
    return math.inf if number is None else number if mode == "min" else -number


def _check_lengths(settings: Settings, every: int) -> int:
    """Returns the number of epochs that a member trains. Raises ConfigError if anything else can end it."""
    trainer = settings.trainer
    limits = [key for key in LENGTH_KEYS if key != "max_epochs"]
    given = [f"trainer.{key}" for key in limits if getattr(trainer, key) is not None]
    given += ["early_stopping"] if settings.early_stopping else []
    if given:
        raise ConfigError(f"{given[0]}: must be null, because a population's members all train for trainer.max_epochs")
    if trainer.max_epochs is None or trainer.max_epochs <= every:
        raise ConfigError(
            f"hydra.sweeper.every_epochs: must be fewer than trainer.max_epochs. Received: {every} of "
            f"{trainer.max_epochs}"
        )
    return trainer.max_epochs
