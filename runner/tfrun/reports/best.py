"""The best run of a comparison, as a line for a person."""

from __future__ import annotations

from itertools import pairwise

from tfrun.config.split_checks import FOLD_KEY
from tfrun.folders import shown
from tfrun.reports.comparison import Comparison
from tfrun.reports.repeats import has_folds, repeats


def has_best(comparison: Comparison) -> bool:
    """Returns whether the first run is the best one: it has a value, and the values can be compared."""
    return comparison.value(comparison.rows[0]) is not None and comparison.is_comparable


def best_line(comparison: Comparison) -> str:
    """Returns the best run's folder, or why there is none; an empty string if no run has a value."""
    first = comparison.rows[0]
    if comparison.value(first) is None:
        return ""
    if not comparison.is_comparable:
        return f"no best: {comparison.metric} of different losses can't be compared. metric=val/<metric> can"
    return _best_over_folds(comparison) if has_folds(comparison) else f"best       {shown(first.folder.path)}"


def _best_over_folds(comparison: Comparison) -> str:
    """Returns the folds with the best mean, if it is one over all of them; of several seeds, as the sweep does, one."""
    best = repeats(comparison, over_seeds=False)[0]
    if not best.is_complete:
        return "no best: no cross-validation has a value in all of its folds"
    rows = sorted(best.rows, key=lambda row: row.config.get(FOLD_KEY) or 0)
    names = [shown(rows[0].folder.path)]
    for before, row in pairwise(rows):
        path = row.folder.path
        names.append(path.name if path.parent == before.folder.path.parent else shown(path))
    return f"best       {comparison.metric} {best.mean:.6g} in the mean of {', '.join(names)}"
