"""How much each config key has to do with a metric, over the runs of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tfrun.config.split_checks import FOLD_KEY
from tfrun.reports.comparison import Comparison

MIN_RUNS = 8  # a forest of fewer runs says nothing
LOG_SPAN = 30  # numbers are looked at by their logarithms if the greatest is this many times the least


def importances(comparison: Comparison) -> dict[str, float]:
    """Returns each differing key's share of the metric's variance, the greatest first; the shares sum to 1.

    By fANOVA (Hutter, Hoos and Leyton-Brown, 2014), as implemented in Optuna: a forest is fitted to the runs, and the
    variance of its predictions is split by key. Empty for fewer than MIN_RUNS completed runs, for a metric that doesn't
    mean the same in all runs, and without Optuna.
    """
    try:
        import optuna
    except ImportError:
        return {}
    rows = comparison.done
    keys = [key for key in comparison.keys if key not in ("name", FOLD_KEY) and all(key in row.config for row in rows)]
    parameters = {key: _parameter(optuna, [row.config[key] for row in rows]) for key in keys}
    varying = {key: parameter for key, parameter in parameters.items() if parameter is not None}
    if not comparison.is_comparable or len(rows) < MIN_RUNS or len(varying) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    distributions = {key: parameter.distribution for key, parameter in varying.items()}
    for row in rows:
        params = {key: parameter.convert(row.config[key]) for key, parameter in varying.items()}
        value = comparison.value(row)
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: float(share) for key, share in shares.items()}


def is_logarithmic(values: Sequence[float]) -> bool:
    """Returns whether numbers should be looked at by their logarithms."""
    return min(values) > 0 and max(values) / min(values) >= LOG_SPAN


@dataclass(frozen=True)
class _Parameter:
    """A key as Optuna sees it: the distribution of its values, and a function that turns a value into Optuna's."""

    distribution: Any
    convert: Callable[[Any], Any]


def _parameter(optuna: Any, values: Sequence[Any]) -> _Parameter | None:
    """Returns a key as a parameter of Optuna's, or None if all its values are the same."""
    if len({repr(value) for value in values}) < 2:
        return None
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, high = float(min(values)), float(max(values))
        return _Parameter(optuna.distributions.FloatDistribution(low, high, log=is_logarithmic(values)), float)
    choices = list(dict.fromkeys(map(repr, values)))
    return _Parameter(optuna.distributions.CategoricalDistribution(choices), repr)
