"""The search space of a sweep: keys with intervals or choices in Hydra's grammar, some of them under conditions."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig

from tfrun.config.compose import Configs
from tfrun.config.cross_checks import is_comparable
from tfrun.config.explain import USER_MISTAKES
from tfrun.config.keys import refuse_unknown
from tfrun.config.overrides import parse
from tfrun.errors import ConfigError, unknown
from tfrun.sweep.swept_files import refuse_params
from tfrun.sweep.words import choices_word, task_words, word

Condition = tuple[str, tuple[str, ...]]  # a key, and the values of it that fulfil the condition


@dataclass(frozen=True)
class Dimension:
    """One key of the space. A study in a database stores its repr, so its fields must not be renamed.

    Attributes:
        key: as in an override.
        low: the lower end of an interval; the values are whole numbers if both ends are.
        high: the upper end.
        log: whether the logarithm is spread evenly.
        choices: as in an override, instead of an interval.
        when: the values of another key under which this one is used; None means always.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[str, ...] = ()
    when: Condition | None = None

    @property
    def probes(self) -> list[str]:
        """The values that are checked before anything runs: all choices, or both ends."""
        return list(self.choices) or [_text(self.low), _text(self.high)]

    def applies(self, values: Mapping[str, str]) -> bool:
        """Returns whether this dimension is used, given the values of others."""
        return self.when is None or values.get(self.when[0]) in self.when[1]

    def suggest(self, trial: Any) -> str:
        """Returns the value that Optuna suggests for a trial, as text."""
        if self.choices:
            return str(trial.suggest_categorical(self.key, self.choices))
        if self._is_whole:
            return str(trial.suggest_int(self.key, int(self.low), int(self.high), log=self.log))
        return _text(trial.suggest_float(self.key, self.low, self.high, log=self.log))

    def draw(self, rng: np.random.Generator) -> str:
        """Returns a random value, as text; values (or their logarithms) are uniformly distributed."""
        if self.choices:
            return self.choices[rng.integers(len(self.choices))]
        if self._is_whole:
            return str(rng.integers(int(self.low), int(self.high), endpoint=True))
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = rng.uniform(low, high)
        return self._clipped(math.exp(value) if self.log else value)

    def near(self, value: str, factor: float) -> str:
        """Returns a value near another one: that value times `factor`, or the next or previous choice."""
        if self.choices:
            k = self.choices.index(value) + (1 if factor > 1 else -1)
            return self.choices[min(max(k, 0), len(self.choices) - 1)]
        if not self._is_whole:
            return self._clipped(factor * float(value))
        near = round(factor * int(value))
        return self._clipped(near if near != int(value) else near + (1 if factor > 1 else -1))

    @property
    def _is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def _clipped(self, value: float) -> str:
        return _text(min(max(value, self.low), self.high))


@dataclass(frozen=True)
class Space:
    """The dimensions of a sweep, and the overrides that all its jobs share.

    Attributes:
        dimensions: those with a condition come last.
        common: the overrides that all jobs share.
    """

    dimensions: list[Dimension]
    common: list[str]

    @classmethod
    def read(cls, configs: Configs, sweep: DictConfig, *, params: Mapping[str, Any]) -> Space:
        """Returns the space of `hydra.sweeper.params` and the command line, which overrides them.

        Raises:
            ConfigError: the space is empty, or an interval, a range or a condition is wrong.
        """
        loader = configs.hydra.config_loader
        common: list[str] = []
        dimensions: dict[str, Dimension] = {}
        try:
            given = parse(task_words(sweep), loader)
            overridden = {item.key_or_group for item in given}
            for key, (text, when) in _texts_and_conditions(params, without=overridden).items():
                (item,), condition = parse([text], loader), _condition(key, when)
                dimension = _dimension(item, condition)
                if dimension is None and condition:  # a single value, but not for all jobs
                    dimension = Dimension(key, choices=(item.get_value_element_as_str(),), when=condition)
                if dimension is None:
                    common.append(text)
                else:
                    dimensions[key] = dimension
            for item in given:
                dimension = _dimension(item, None)
                if dimension is None:
                    common.append(str(item.input_line).lstrip("+"))
                else:
                    dimensions[dimension.key] = dimension
            fixed = {item.key_or_group: str(item.input_line).partition("=")[2] for item in given}
            dimensions = _without_known_conditions(dimensions, fixed)
            options = {key: dimension.choices for key, dimension in dimensions.items() if dimension.choices}
            refuse_params(configs, sweep, options, source="a search")
        except USER_MISTAKES as error:
            raise configs.explain(error) from error
        if not dimensions:
            raise ConfigError(
                "hydra.sweeper.params: an empty space. Try 'optimizer.learning_rate=tag(log,interval(1e-4,1e-1))'"
            )
        return cls(sorted(dimensions.values(), key=lambda dimension: dimension.when is not None), common)

    @property
    def keys(self) -> list[str]:
        return [dimension.key for dimension in self.dimensions]

    def choose(self, value_of: Callable[[Dimension], str]) -> dict[str, str]:
        """Returns a value by key for each dimension that applies to the values before it."""
        values: dict[str, str] = {}
        for dimension in self.dimensions:
            if dimension.applies(values):
                values[dimension.key] = value_of(dimension)
        return values

    def overrides(self, values: Mapping[str, str]) -> list[str]:
        """Returns the overrides of the job with these values."""
        return [*self.common, *(f"{key}={value}" for key, value in values.items())]

    def values_of(self, overrides: Sequence[str]) -> dict[str, str]:
        """Returns the values in the overrides of a job."""
        pairs = [text.partition("=") for text in overrides]
        return {key: value for key, _, value in pairs if key in self.keys}

    def check_comparable(self, names: Collection[str]) -> None:
        """Raises ConfigError if jobs would be compared by their loss although the space changes the loss."""
        for name in names:
            if not is_comparable(name, self.keys):
                losses = ", ".join(key for key in self.keys if not is_comparable(name, [key]))
                raise ConfigError(
                    f"hydra.sweeper.params: {name} doesn't say which {losses} is better, because each has a unit of "
                    "its own. Search by a metric, for instance checkpoint.monitor=val/mae"
                )

    def probes(self) -> Iterator[dict[str, str]]:
        """Yields values to check before anything runs: each choice, and each end of an interval, at least once.

        Raises:
            ConfigError: a condition names an unknown key or choice.
        """
        first: dict[str, str] = {}
        for dimension in self.dimensions:
            self._check_condition(dimension)
            if dimension.applies(first):
                first[dimension.key] = dimension.probes[0]
        yield first
        for dimension in self.dimensions:
            for probe in dimension.probes:
                wanted = {**first, dimension.key: probe}
                if dimension.when:
                    other, choices = dimension.when
                    wanted[other] = choices[0]
                yield {
                    other.key: wanted.get(other.key, other.probes[0])
                    for other in self.dimensions
                    if other.applies(wanted)
                }

    def _check_condition(self, dimension: Dimension) -> None:
        if dimension.when is None:
            return
        where = f"hydra.sweeper.params.{dimension.key}.when"
        other, values = dimension.when
        unconditional = {item.key: item for item in self.dimensions if item.when is None}
        if other not in unconditional:
            raise unknown(where, "key of the space", name=other, known=unconditional)
        for value in values:
            if value not in unconditional[other].choices:
                raise unknown(where, "choice", name=value, known=unconditional[other].choices)


def _texts_and_conditions(params: Mapping[str, Any], *, without: Collection[str]) -> dict[str, tuple[str, Any]]:
    """Returns the override and the condition, if any, of each of `hydra.sweeper.params`, without some keys."""
    texts: dict[str, tuple[str, Any]] = {}
    for key, param in params.items():
        if key in without:
            continue
        value, when = param, None
        if isinstance(param, dict):
            where = f"hydra.sweeper.params.{key}"
            refuse_unknown(where, param, known=("value", "when"))
            if "value" not in param:
                raise ConfigError(f"{where}.value: must be given. Received: {param}")
            value, when = param["value"], param.get("when")
        texts[key] = (choices_word(key, value) if isinstance(value, list) else word(key, value)), when
    return texts


def _without_known_conditions(dimensions: Mapping[str, Dimension], fixed: Mapping[str, str]) -> dict[str, Dimension]:
    """Returns the dimensions whose condition may hold, without the conditions about keys that have one value."""
    kept: dict[str, Dimension] = {}
    for key, dimension in dimensions.items():
        other, values = dimension.when or ("", ())
        if other not in fixed or other in dimensions:
            kept[key] = dimension
        elif fixed[other] in values:
            kept[key] = replace(dimension, when=None)
    return kept


def _condition(key: str, when: Any) -> Condition | None:
    if when is None:
        return None
    other, is_there, values = str(when).partition("=")
    if not is_there or not values:
        raise ConfigError(f"hydra.sweeper.params.{key}.when: must be like model=mlp. Received: {when!r}")
    return other.strip(), tuple(value.strip() for value in values.split(","))


def _dimension(override: Override, when: Condition | None) -> Dimension | None:
    """Returns the dimension of an override that sweeps, or None for any other override."""
    key = override.key_or_group
    typed = (override.input_line or "").lstrip("+")
    sweep = override.value()
    if isinstance(sweep, IntervalSweep):
        low, high, log = sweep.start, sweep.end, "log" in sweep.tags
        assert low is not None and high is not None
        if not low < high or (log and low <= 0):
            needed = "0 < low < high" if log else "low < high"
            raise ConfigError(f"{key}: an interval needs {needed}. Received: {typed!r}")
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
    """Returns a number as text, with six significant digits; a float stays a float: 1.0."""
    text = str(value) if isinstance(value, int) else f"{value:.6g}"
    return text if isinstance(value, int) or set(text) & set(".e") else f"{text}.0"
