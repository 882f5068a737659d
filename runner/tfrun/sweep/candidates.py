"""What a sweep compares: single jobs, or cross-validations, which have a job for each fold."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tfrun.config.cross_checks import is_comparable
from tfrun.config.split_checks import FOLD_KEY
from tfrun.sweep.outcome import Outcome


@dataclass(frozen=True)
class Candidate:
    """Jobs that differ in their fold only, or one job.

    Attributes:
        outcomes: how the jobs ended, sorted by number.
    """

    outcomes: tuple[Outcome, ...]

    @property
    def num_folds(self) -> int | None:
        """The number of folds, over all repeats; None for a single job without folds."""
        return max((outcome.num_folds for outcome in self.outcomes if outcome.num_folds), default=None)

    @property
    def swept(self) -> dict[str, str]:
        """The values of the keys that differ between candidates, as typed."""
        swept = dict(self.outcomes[0].swept)
        return swept if self.num_folds is None else {key: value for key, value in swept.items() if key != FOLD_KEY}

    @property
    def numbers(self) -> str:
        """The first and the last of its jobs."""
        names = [outcome.folder.path.name for outcome in self.outcomes]
        return names[0] if len(names) == 1 else f"{names[0]}–{names[-1]}"

    @property
    def label(self) -> str:
        return " ".join([f"#{self.numbers}", *(f"{key}={value}" for key, value in self.swept.items())])

    @property
    def values(self) -> list[float]:
        """The monitored values of the completed jobs that have one."""
        done = (outcome.value for outcome in self.outcomes if outcome.status == "completed")
        return [value for value in done if value is not None]

    @property
    def is_complete(self) -> bool:
        """Whether all of its jobs have completed with a value, so that it can be compared with others."""
        return len(self.values) == (self.num_folds or 1)

    @property
    def mean(self) -> float | None:
        """The mean over the folds that have completed; None if there is none."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation of a fold's value, with n - 1 in the denominator; None for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


def candidates(outcomes: Sequence[Outcome]) -> list[Candidate]:
    """Returns the single jobs and the cross-validations among outcomes, in the order of their first jobs."""
    groups: dict[str, list[Outcome]] = {}
    num_alike: Counter[str] = Counter()
    for outcome in outcomes:
        # a job that failed before it had read its data doesn't say how many folds there are
        if outcome.num_folds is None and FOLD_KEY not in outcome.swept:
            groups[f"#{outcome.folder.path.name}"] = [outcome]
            continue
        others = sorted((key, value) for key, value in outcome.swept.items() if key != FOLD_KEY)
        alike = f"{others}, fold {outcome.swept.get(FOLD_KEY)}"
        # a search may try the same values twice
        groups.setdefault(f"{others}, time {num_alike[alike]}", []).append(outcome)
        num_alike[alike] += 1
    return [Candidate(tuple(group)) for group in groups.values()]


def ranked(compared: Sequence[Candidate], mode: str) -> list[Candidate]:
    """Returns the candidates with the complete ones before the others, the best first."""
    complete = [candidate for candidate in compared if candidate.is_complete]
    complete.sort(key=lambda candidate: statistics.fmean(candidate.values), reverse=mode == "max")
    return complete + [candidate for candidate in compared if not candidate.is_complete]


def best_of(outcomes: Sequence[Outcome], mode: str) -> Candidate | None:
    """Returns the best of the complete candidates, or None if there is none or their values can't be compared."""
    complete = [
        (candidate.mean, candidate)
        for candidate in candidates(outcomes)
        if candidate.is_complete and candidate.mean is not None
    ]
    monitors = {outcome.monitor for _, candidate in complete for outcome in candidate.outcomes}
    swept = {key for outcome in outcomes for key in outcome.swept}
    if len(monitors) != 1 or not is_comparable(str(*monitors), swept):
        return None
    return (min if mode == "min" else max)(complete, key=lambda pair: pair[0])[1]
