"""How much each config key has to do with a metric, over the runs of a comparison."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tfrun.config.split_checks import FOLD_KEY
from tfrun.reports.comparison import Comparison

MIN_RUNS = 8  # fewer runs say nothing
GREATEST = 1e300  # a number beyond is no finite one
LOG_SPAN = 30  # numbers are looked at by their logarithms if the greatest is this many times the least
BEST_SHARE, MIN_BEST, MAX_BEST = 0.1, 5, 0.5  # the best tenth of the runs, but 5 of them, and at most half of them


def importances(comparison: Comparison) -> dict[str, float]:
    """Returns each differing key's share in what makes a run one of the best, the greatest first; they sum to 1.

    By PED-ANOVA (Watanabe, Bansal and Hutter, 2023), as implemented in Optuna: the values that a key has in the best
    runs are compared with those that it has in all. Empty if `explain_missing` has a reason.
    """
    if explain_missing(comparison):
        return {}
    import optuna

    rows, sign = comparison.done, -1.0 if comparison.mode == "max" else 1.0
    varying = _varying(comparison)
    parameters = {key: _parameter(optuna, [row.config[key] for row in rows]) for key in varying}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    distributions = {key: parameter.distribution for key, parameter in parameters.items()}
    for row in rows:
        value = comparison.value(row)
        assert value is not None
        params = {key: parameter.convert(row.config[key]) for key, parameter in parameters.items()}
        trial = optuna.trial.create_trial(params=params, distributions=distributions, value=sign * value)
        study.add_trial(trial)
    best = min(max(BEST_SHARE, MIN_BEST / len(rows)), MAX_BEST)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=best)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: float(share) for key, share in sorted(shares.items(), key=lambda item: -item[1])}


def explain_missing(comparison: Comparison) -> str:
    """Returns why nothing can be said of the keys' importance, or an empty string if something can."""
    if not is_installed():
        return "it needs Optuna: pip install 'tfrun[search]'"
    if not comparison.is_comparable:
        return f"{comparison.metric} of different losses can't be compared"
    if len(comparison.done) < MIN_RUNS:
        return f"it needs at least {MIN_RUNS} completed runs"
    if len(_varying(comparison)) < 2:
        return "it needs at least two keys that differ and that all runs have"
    if len({comparison.value(row) for row in comparison.done}) < 2:
        return f"{comparison.metric} is the same in all runs"
    return ""


def is_installed() -> bool:
    """Returns whether Optuna is."""
    return importlib.util.find_spec("optuna") is not None


def _varying(comparison: Comparison) -> list[str]:
    """Returns the keys that every completed run has, with at least two values; no name, and no fold."""
    rows = comparison.done
    keys = [key for key in comparison.keys if key not in ("name", FOLD_KEY) and all(key in row.config for row in rows)]
    return [key for key in keys if len({repr(row.config[key]) for row in rows}) > 1]


def is_logarithmic(values: Sequence[float]) -> bool:
    """Returns whether numbers should be looked at by their logarithms."""
    return min(values) > 0 and max(values) / min(values) >= LOG_SPAN


@dataclass(frozen=True)
class _Parameter:
    """A key as Optuna sees it: the distribution of its values, and a function that turns a value into Optuna's."""

    distribution: Any
    convert: Callable[[Any], Any]


def is_numeric(values: Sequence[Any]) -> bool:
    """Returns whether all values are numbers, and finite ones."""
    return all(
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < GREATEST for value in values
    )


def _parameter(optuna: Any, values: Sequence[Any]) -> _Parameter:
    """Returns a key as a parameter of Optuna's."""
    if is_numeric(values):
        low, high = float(min(values)), float(max(values))
        return _Parameter(optuna.distributions.FloatDistribution(low, high, log=is_logarithmic(values)), float)
    choices = list(dict.fromkeys(map(repr, values)))
    return _Parameter(optuna.distributions.CategoricalDistribution(choices), repr)
