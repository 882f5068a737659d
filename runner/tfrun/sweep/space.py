"""What a search searches: keys with intervals or choices, in Hydra's grammar, some under conditions."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig

from tfrun.config.compose import USER_MISTAKES, Session
from tfrun.config.cross_checks import is_comparable
from tfrun.errors import ConfigError, unknown
from tfrun.sweep.jobs import Job


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
        if self._is_whole:
            return str(trial.suggest_int(self.key, int(self.low), int(self.high), log=self.log))
        return _text(trial.suggest_float(self.key, self.low, self.high, log=self.log))

    def draw(self, rng: np.random.Generator) -> str:
        """Returns a value, as text, each as likely as any other (or as any other's logarithm)."""
        if self.choices:
            return self.choices[rng.integers(len(self.choices))]
        if self._is_whole:
            return str(rng.integers(int(self.low), int(self.high), endpoint=True))
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = rng.uniform(low, high)
        return self._within(math.exp(value) if self.log else value)

    def near(self, value: str, factor: float) -> str:
        """Returns a value near one that it gave: so many times as large, or the next larger or smaller choice."""
        if self.choices:
            k = self.choices.index(value) + (1 if factor > 1 else -1)
            return self.choices[min(max(k, 0), len(self.choices) - 1)]
        if not self._is_whole:
            return self._within(factor * float(value))
        near = round(factor * int(value))
        return self._within(near if near != int(value) else near + (1 if factor > 1 else -1))

    @property
    def _is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def _within(self, value: float) -> str:
        return _text(min(max(value, self.low), self.high))


def read(session: Session, sweep: DictConfig, params: Mapping[str, Any]) -> tuple[list[str], list[Dimension]]:
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


def check_comparable(space: Sequence[Dimension], values: Collection[str]) -> None:
    """Refuses to judge jobs by their loss where the space is of losses. Raises ConfigError."""
    keys = [dimension.key for dimension in space]
    for value in values:
        if not is_comparable(value, keys):
            losses = ", ".join(key for key in keys if not is_comparable(value, [key]))
            raise ConfigError(
                f"hydra.sweeper.params: {value} says nothing of which {losses} is better, as each counts in a unit of "
                f"its own. Search by a metric: checkpoint.monitor=val/mae, for instance"
            )


def check(space: Sequence[Dimension], composed: Callable[[Mapping[str, str]], Job]) -> list[Job]:
    """Composes and checks a job for each choice and each end of an interval, and returns them.

    Raises:
        ConfigError: one of them, or a condition, is wrong.
    """
    chosen: dict[str, str] = {}
    known = {dimension.key: dimension for dimension in space if dimension.when is None}
    for dimension in space:
        where = f"hydra.sweeper.params.{dimension.key}.when"
        if dimension.when and dimension.when[0] not in known:
            raise unknown(where, "key of the space", dimension.when[0], known)
        for value in dimension.when[1] if dimension.when else ():
            choices = known[dimension.when[0]].choices if dimension.when else ()
            if value not in choices:
                raise unknown(where, "choice", value, choices)
        if dimension.applies(chosen):
            chosen[dimension.key] = dimension.probes[0]
    jobs = [composed(chosen)]
    for dimension in space:
        for probe in dimension.probes:
            own = {**chosen, dimension.key: probe}
            if dimension.when:
                own[dimension.when[0]] = dimension.when[1][0]
            jobs.append(composed({k.key: own.get(k.key, k.probes[0]) for k in space if k.applies(own)}))
    return jobs


def _condition(key: str, when: Any) -> tuple[str, tuple[str, ...]] | None:
    if when is None:
        return None
    other, is_there, values = str(when).partition("=")
    if not is_there or not values:
        raise ConfigError(f"hydra.sweeper.params.{key}.when: must be like model=mlp. Received: {when!r}")
    return other.strip(), tuple(value.strip() for value in values.split(","))


def _dimension(override: Override, when: tuple[str, tuple[str, ...]] | None) -> Dimension | None:
    """Returns what an override sweeps over, or None where it doesn't."""
    key, sweep, typed = override.key_or_group, override.value(), (override.input_line or "").lstrip("+")
    if isinstance(sweep, IntervalSweep):
        low, high, log = sweep.start, sweep.end, "log" in sweep.tags
        assert low is not None and high is not None
        if not low < high or (log and low <= 0):
            wanted = "0 < low < high" if log else "low < high"
            raise ConfigError(f"{key}: an interval needs {wanted}. Received: {typed!r}")
        return Dimension(key, low, high, log, when=when)
    if isinstance(sweep, ChoiceSweep | RangeSweep):
        choices = tuple(dict.fromkeys(override.sweep_string_iterator()))
        if not choices:
            raise ConfigError(f"{key}: an empty range. Received: {typed!r}")
        if isinstance(sweep, RangeSweep) and sweep.step == 1 and isinstance(sweep.start, int):
            return Dimension(key, int(choices[0]), int(choices[-1]), when=when) if len(choices) > 1 else None
        return Dimension(key, choices=choices, when=when)
    return None


def _text(value: float) -> str:
    """Returns a number as text, with as many digits as a person wants to read; a float stays one: 1.0."""
    text = str(value) if isinstance(value, int) else f"{value:.6g}"
    return text if isinstance(value, int) or set(text) & set(".e") else f"{text}.0"
