"""Population-based training: while members train, the worst take over the state of the best, and try other values.

    each member trains for a generation     every_epochs epochs; then its state is saved
    it goes on                              as soon as enough others are known to be worse
    the worst end                           a new job goes on from a copy of one of the best, its values explored

What becomes of a member depends on the values of its generation alone, not on who was first: the same sweep gives the
same jobs with any number of processes, and a killed one goes on as if nothing had happened.

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

from tfrun.config.compose import Session
from tfrun.config.settings import Settings
from tfrun.errors import ConfigError, DataError
from tfrun.sweep import space
from tfrun.sweep.board import Outcome
from tfrun.sweep.jobs import Composer, Job, JobFolder
from tfrun.sweep.ledger import Ledger, Trial
from tfrun.sweep.pool import write_row
from tfrun.sweep.sweeper_keys import read_settings
from tfrun.sweep.worker import Step

KEYS = {
    "population": "Annotated[int, Ge(2)]",
    "every_epochs": "Annotated[int, Ge(1)]",
    "replaced": "Annotated[float, Gt(0), Le(0.5)]",
    "factors": "Annotated[list[Annotated[float, Gt(0)]], MinLen(1)]",
    "drawn_anew": "Annotated[float, Ge(0), Le(1)]",
    "seed": "Annotated[int, Ge(0)]",
    "params": "dict",
}
LIMITS = ("max_steps", "max_seconds")


@dataclass
class Member:
    """A place in the population, which one job after another has.

    Attributes:
        number: its own.
        job: the one that has the place now.
        chosen: the job's values.
        scores: of each generation that has ended, the smaller the better; inf is a failure.
        decided: the number of generations after which is decided whether it goes on.
        is_running: whether the job trains.
        is_over: whether it has come to its end.
    """

    number: int
    job: Job
    chosen: dict[str, str]
    scores: list[float] = field(default_factory=list)
    decided: int = 0
    is_running: bool = False
    is_over: bool = False


class Population:
    """The jobs of population-based training, each in its own folder.

    Args:
        session: Hydra and the components.
        sweep: the config that the jobs share; `hydra.sweeper` says how they are trained.
        threads: what each job gets.

    Raises:
        ConfigError: a setting, the space or a value in it is wrong, or a key is no number that a run may change.
    """

    def __init__(self, session: Session, sweep: Any, threads: int | None = None):
        self._settings = read_settings(sweep.hydra.sweeper, KEYS)
        self._common, self._space = space.read(session, sweep, self._settings["params"])
        self.composer = Composer(session, sweep, {dimension.key for dimension in self._space}, threads)
        probes = space.check(self._space, lambda chosen: self.composer(self._overrides(chosen), 0))
        self.first = probes[0]
        self.total: int | None = None
        self.mode: str = self.first.settings.checkpoint.mode
        self._monitor: str = self.first.settings.checkpoint.monitor
        self._every: int = self._settings["every_epochs"]
        self._max_epochs = _check_lengths(self.first.settings, self._every)
        if len({job.structure for job in probes}) > 1:
            keys = ", ".join(dimension.key for dimension in self._space)
            raise ConfigError(
                "hydra.sweeper.params: members take over each other's state, so the space is of numbers with a "
                f"fraction of loss, optimizer, algorithm and trainer. Received: {keys}"
            )
        space.check_comparable(self._space, [self._monitor])
        self._num_replaced = max(1, int(self._settings["replaced"] * self._settings["population"]))
        self._members: list[Member] = []
        self._news: list[str] = []
        self._settled = 0  # generations in which every member's fate is decided

    def begin(self, folder: Path, ledger: Ledger, trials: Sequence[Trial] = (), left: Sequence[Trial] = ()) -> None:
        """Makes the first members, or finds those of a sweep that was ended.

        Args:
            folder: the sweep's.
            ledger: takes new trials.
            trials: those that the sweep has already.
            left: those of them that are to be gone on with.
        """
        self._folder, self._ledger = folder, ledger
        count, trials = self._settings["population"], list(trials)
        for number in range(len(trials), count):
            trials.append(Trial(number, "waiting", self._overrides(self._explored({}, self._rng(0, number)))))
            ledger.add([(number, trials[-1].overrides)])
        self._next = len(trials)
        self._members = [Member(k, *self._job(trial)) for k, trial in enumerate(trials[:count])]
        for trial in trials[count:]:
            assert trial.branch is not None
            member, decided = self._members[trial.branch["replaces"]], trial.branch["generation"] + 1
            self._find_scores(member, decided)
            member.scores += [math.inf] * (decided - len(member.scores))
            member.decided = decided
            self._take_over(member, trial)
        for member in self._members:
            member.decided = max(member.decided, (member.job.folder.read_run().get("epoch", 0) - 1) // self._every)
            self._find(member, may_go_on=member.job.number in {trial.number for trial in left})
        self._settled = min(member.decided for member in self._members)
        if not left:
            worst = "worst takes" if self._num_replaced == 1 else f"{self._num_replaced} worst take"
            self._news.append(f"{count} members; every {self._every} epochs the {worst} over the state of the best")

    def next(self, structures: Collection[str]) -> Job | None:
        for member in sorted(self._members, key=lambda member: (len(member.scores), member.number)):
            if member.is_running or member.is_over:
                continue
            if member.decided < len(member.scores):
                goes_on = self._goes_on(member)
                if goes_on is None or not (goes_on or self._replace(member)):
                    continue
                member.decided = len(member.scores)
                self._settle()
            member.is_running = True
            return member.job.going_on(pause_epoch=(len(member.scores) + 1) * self._every)
        return None

    def like(self, job: Job, lanes: int, workers: int) -> list[Job]:
        """Returns none: each goes on from a state of its own."""
        return []

    def told(self, job: Job, step: Step) -> bool:
        return False

    def ended(self, job: Job, outcome: Outcome) -> None:
        member = next(member for member in self._members if member.job.number == job.number)
        member.is_running, before = False, len(member.scores)
        self._find(member, may_go_on=False)
        if len(member.scores) > before and all(len(other.scores) > before for other in self._members):
            self._tell(before)

    def lines(self) -> list[str]:
        news, self._news = self._news, []
        return news

    def _find(self, member: Member, may_go_on: bool) -> None:
        """Takes what a member's job has come to, as its folder says.

        Args:
            member: doesn't run.
            may_go_on: whether a job that failed is gone on with.
        """
        from tfrun.files import checkpoints

        folder, run = member.job.folder, member.job.folder.read_run()
        self._find_scores(member)
        is_last = (len(member.scores) + 1) * self._every >= self._max_epochs
        if run.get("status") == "completed":
            member.is_over = True
        elif run.get("status") in ("failed", "diverged") and not may_go_on:
            member.scores.append(math.inf)
            member.is_over = is_last  # else another one takes its place
        elif member.decided < len(member.scores):
            checkpoints.pin(folder.checkpoints, run["step"])  # others may want it when this one has gone on

    def _find_scores(self, member: Member, most: float = math.inf) -> None:
        """Takes the scores of the generations, at most so many, that a member's job has ended and saved."""
        epoch = member.job.folder.read_run().get("epoch", 0)
        while len(member.scores) < most and epoch >= (len(member.scores) + 1) * self._every:
            line = self._line(member.job, len(member.scores))
            member.scores.append(_score(line.get(self._monitor, math.nan), self.mode))

    def _line(self, job: Job, generation: int) -> dict[str, Any]:
        """Returns the line of `metrics.jsonl` at the end of a generation."""
        lines = job.folder.read_metrics()
        return next(line for line in lines if line["epoch"] == (generation + 1) * self._every)

    def _goes_on(self, member: Member) -> bool | None:
        """Returns whether a member is not among the worst of its last generation; None where that isn't known yet."""
        generation = member.decided
        own = member.scores[generation], member.number
        known = [(other.scores[generation], other.number) for other in self._ended(generation)]
        if math.isfinite(own[0]) and sum(other > own for other in known) >= self._num_replaced:
            return True
        return None if len(known) < len(self._members) else False

    def _ended(self, generation: int) -> list[Member]:
        """Returns the members that have ended a generation."""
        return [member for member in self._members if len(member.scores) > generation]

    def _ranked(self, generation: int) -> list[Member]:
        """Returns the members that have ended a generation well, the best first."""
        well = [member for member in self._ended(generation) if math.isfinite(member.scores[generation])]
        return sorted(well, key=lambda member: (member.scores[generation], member.number))

    def _replace(self, member: Member) -> bool:
        """Gives a member's place to a new job, which goes on from one of the best; returns whether there is one."""
        generation = member.decided
        best = self._ranked(generation)[: self._num_replaced]
        if not best:
            member.is_over = True
            return False
        rng = self._rng(generation + 1, member.number)
        source = best[rng.integers(len(best))]
        overrides = self._overrides(self._explored(source.chosen, rng))
        try:
            self.composer(overrides, self._next)
        except (ConfigError, DataError):  # values that don't go together
            overrides = self._overrides(source.chosen)
        epoch = (generation + 1) * self._every
        branch = {"from": source.job.number, "epoch": epoch, "generation": generation, "replaces": member.number}
        trial, self._next = Trial(self._next, "waiting", overrides, branch), self._next + 1
        self._ledger.add([(trial.number, trial.overrides)], branch=branch)
        self._news.append(f"#{trial.number} goes on from #{source.job.number} in the place of #{member.job.number}")
        self._take_over(member, trial)
        return True

    def _take_over(self, member: Member, trial: Trial) -> None:
        """Has a new job take over a member's place, and another one's state; what a crash left undone of it is done."""
        from tfrun.files import copy_run

        assert trial.branch is not None
        old = member.job
        member.job, member.chosen = self._job(trial)
        if not member.job.folder.run_json.exists():
            source = JobFolder(self._folder / str(trial.branch["from"]))
            line = next(line for line in source.read_metrics() if line["epoch"] == trial.branch["epoch"])
            groups = member.job.settings.groups
            rates = {name: own.learning_rate for name, own in groups.items() if own.learning_rate is not None}
            member.job.folder.path.mkdir(exist_ok=True)
            copy_run.begin(source, line["epoch"], line["step"], member.job.folder, rates)
        run = old.folder.read_run()
        if run.get("status") == "stopped":
            old.folder.write_run(run | {"status": "pruned"})
            self._ledger.note(old.number, "pruned")
            if old.settings.logger:
                write_row(old, "pruned")

    def _settle(self) -> None:
        """Lets go of the states of generations in which every member's fate is decided."""
        from tfrun.files import checkpoints

        settled = min(member.decided for member in self._members if not member.is_over)
        for generation in range(self._settled, settled):
            for member in self._ended(generation):
                if math.isfinite(member.scores[generation]):
                    step = self._line(member.job, generation)["step"]
                    checkpoints.unpin(member.job.folder.checkpoints, step)
                    if not member.is_running:  # else its next save does that
                        checkpoints.remove_old(member.job.folder.checkpoints, member.job.settings.checkpoint.keep)
        self._settled = max(self._settled, settled)

    def _tell(self, generation: int) -> None:
        where, best = f"epoch {(generation + 1) * self._every}", self._ranked(generation)
        if best:
            sign = 1 if self.mode == "min" else -1
            ends = [f"{sign * own.scores[generation]:.5g} (#{own.job.number})" for own in (best[0], best[-1])]
            self._news.append(f"{where}: {self._monitor} {' to '.join(ends)}")
        else:
            self._news.append(f"{where}: every member has failed")

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self._settings["seed"], *key])

    def _explored(self, chosen: Mapping[str, str], rng: np.random.Generator) -> dict[str, str]:
        """Returns values near those of another job, or new ones."""
        explored: dict[str, str] = {}
        factors = self._settings["factors"]
        for dimension in self._space:
            if not dimension.applies(explored):
                continue
            is_new = dimension.key not in chosen or rng.random() < self._settings["drawn_anew"]
            factor = factors[rng.integers(len(factors))]
            explored[dimension.key] = dimension.draw(rng) if is_new else dimension.near(chosen[dimension.key], factor)
        return explored

    def _overrides(self, chosen: Mapping[str, str]) -> list[str]:
        return [*self._common, *(f"{key}={value}" for key, value in chosen.items())]

    def _job(self, trial: Trial) -> tuple[Job, dict[str, str]]:
        """Returns a trial's job and its values."""
        keys = {dimension.key for dimension in self._space}
        pairs = [text.partition("=") for text in trial.overrides]
        chosen = {key: value for key, _, value in pairs if key in keys}
        return self.composer(trial.overrides, trial.number).within(self._folder), chosen


def _score(value: float, mode: str) -> float:
    """Returns a value so that smaller is better, and what is no number is worst."""
    return (value if mode == "min" else -value) if math.isfinite(value) else math.inf


def _check_lengths(settings: Settings, every: int) -> int:
    """Returns how many epochs a member trains. Raises ConfigError where that isn't all that ends it."""
    trainer = settings.trainer
    given = [f"trainer.{key}" for key in LIMITS if getattr(trainer, key) is not None]
    given += ["early_stopping"] if settings.early_stopping else []
    if given:
        raise ConfigError(f"{given[0]}: a population's members all train for trainer.max_epochs; must be null")
    if trainer.max_epochs is None or trainer.max_epochs <= every:
        raise ConfigError(
            f"hydra.sweeper.every_epochs: must be fewer than trainer.max_epochs. Received: {every} of "
            f"{trainer.max_epochs}"
        )
    return trainer.max_epochs
