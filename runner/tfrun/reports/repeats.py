"""Runs that differ only in what a repetition changes, the seed and the fold: their mean and deviation."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tfrun.config.split_checks import FOLD_KEY
from tfrun.console import shown_number
from tfrun.reports.comparison import Comparison, Row
from tfrun.reports.texts import TextTable, as_text

REPEATED_KEYS = ("seed", FOLD_KEY)


@dataclass(frozen=True)
class Repeats:
    """Runs that differ in their seed or their fold only.

    Attributes:
        settings: the values of the other keys that differ between runs, as texts.
        rows: those that completed with a value, at least one.
        values: the value of each.
        is_complete: False if a fold of a cross-validation is missing.
    """

    settings: tuple[str, ...]
    rows: Sequence[Row]
    values: Sequence[float]
    is_complete: bool

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)


def has_folds(comparison: Comparison) -> bool:
    """Returns whether runs of a comparison are folds of a cross-validation."""
    return any(row.config.get(FOLD_KEY) is not None for row in comparison.rows)


def repeats(comparison: Comparison, *, over_seeds: bool = True) -> list[Repeats]:
    """Returns the repetitions of each setting, those with the best mean first, incomplete cross-validations last.

    Args:
        comparison: the runs.
        over_seeds: False takes the seed for one of the settings, so that runs differ in their fold only.
    """
    keys = [*_other_keys(comparison), *([] if over_seeds else ["seed"])]

    def settings_of(row: Row) -> tuple[str, ...]:
        return tuple(as_text(row.config.get(key)) for key in keys)

    groups: dict[tuple[str, ...], list[tuple[Row, float]]] = {}
    for row in comparison.done:
        value = comparison.value(row)
        assert value is not None
        groups.setdefault(settings_of(row), []).append((row, value))
    # a seed without a value in any fold counts too
    begun: dict[tuple[str, ...], set[str]] = {}
    for row in comparison.rows:
        if row.config.get(FOLD_KEY) is not None:
            begun.setdefault(settings_of(row), set()).add(_seed(row))
    repetitions = [
        Repeats(
            settings,
            [row for row, _ in group],
            [value for _, value in group],
            _is_complete(group, begun.get(settings, set())),
        )
        for settings, group in groups.items()
    ]
    sign = -1.0 if comparison.mode == "max" else 1.0
    return sorted(repetitions, key=lambda group: (not group.is_complete, sign * group.mean))


def repeats_title(comparison: Comparison) -> str:
    """Returns what a table of repetitions is called."""
    names = [name for name, differs in _differing(comparison).items() if differs]
    return f"over {' and '.join(names)}"


def repeats_table(comparison: Comparison) -> TextTable | None:
    """Returns mean and deviation over runs that differ in seed or fold only, or None without such.

    Over seeds there are only the settings that have several: a mean of one value says no more than the run itself. Over
    folds there are all of them, since one that lacks folds matters.

    Over seeds alone there is the mean's 95 % confidence too. Folds have none: they share training rows, so nothing
    unbiased can be said of their mean's deviation (Bengio and Grandvalet, No unbiased estimator of the variance of
    K-fold cross-validation, 2004).
    """
    differing = _differing(comparison)
    groups = [group for group in repeats(comparison) if differing["folds"] or len(group.values) > 1]
    if not groups or not any(differing.values()):
        return None
    count = "runs" if all(differing.values()) else "folds" if differing["folds"] else "seeds"
    has_confidence = not differing["folds"]
    heads = [*_other_keys(comparison), count, f"{comparison.metric} mean", "deviation"]
    heads += ["95 % of the mean"] if has_confidence else []
    lines = [[*group.settings, *_statistics(group, has_confidence=has_confidence)] for group in groups]
    return TextTable(heads, lines)


def _differing(comparison: Comparison) -> dict[str, bool]:
    return {"folds": has_folds(comparison), "seeds": "seed" in comparison.keys}


def _other_keys(comparison: Comparison) -> list[str]:
    return [key for key in comparison.keys if key not in (*REPEATED_KEYS, "name")]


def _seed(row: Row) -> str:
    return as_text(row.config.get("seed"))


def _is_complete(group: Sequence[tuple[Row, float]], seeds: Collection[str]) -> bool:
    """Returns whether there is a run for each fold, for each seed; `seeds` are those whose folds have begun."""
    folds: dict[str, set[int]] = {seed: set() for seed in seeds}
    expected = 1
    for row, _ in group:
        fold = row.config.get(FOLD_KEY)
        if fold is not None:
            expected = int(row.config["data.folds"]) * int(row.config.get("data.folds_repeats") or 1)
        folds.setdefault(_seed(row), set()).add(int(fold or 0))
    return all(len(of_seed) == expected for of_seed in folds.values())


def _statistics(group: Repeats, *, has_confidence: bool) -> list[str]:
    """Returns the number of values, their mean and deviation, and the mean's confidence if asked for.

    The last two are empty for a single value.
    """
    num_values = len(group.values)
    count = str(num_values) if group.is_complete else f"{num_values}, not all"
    deviation, confidence = "", ""
    if num_values > 1:
        spread = statistics.stdev(group.values)
        deviation = shown_number(spread)
        confidence = f"± {_t_95(num_values - 1) * spread / math.sqrt(num_values):.3g}"
    return [count, shown_number(group.mean), deviation, *([confidence] if has_confidence else [])]


def _t_95(degrees: int) -> float:
    """Returns the quantile of Student's t that 95 % of a mean's deviations stay within."""
    from scipy.special import stdtrit  # here, since its import takes a tenth of a second

    return float(stdtrit(degrees, 0.975))
