"""What a sweep compares: jobs, and cross-validations by the mean over their folds."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from tfrun.files.runs import RunFolder
from tfrun.sweep.candidates import Candidate, best_of, candidates
from tfrun.sweep.outcome import Outcome


def outcome(
    number: int, value: float | None, status: str = "completed", monitor: str = "val/mae", **swept: str
) -> Outcome:
    return Outcome(RunFolder(Path(str(number))), swept, status, monitor, value, "")


def folds(first: int, *values: float | None, num_folds: int = 3, **swept: str) -> list[Outcome]:
    """Returns the jobs of a cross-validation; a job without a value has failed before it read its data."""
    return [
        Outcome(
            RunFolder(Path(str(first + fold))),
            {**swept, "data.fold": str(fold)},
            "failed" if value is None else "completed",
            "val/mae",
            value,
            "",
            num_folds=None if value is None else num_folds,
        )
        for fold, value in enumerate(values)
    ]


def test_the_best_is_a_completed_job() -> None:
    outcomes = [outcome(0, 3.0), outcome(1, 1.0, "pruned"), outcome(2, 2.0), outcome(3, None)]
    assert best_of(outcomes, "min") == Candidate((outcomes[2],))
    assert best_of(outcomes, "max") == Candidate((outcomes[0],))
    assert best_of([outcomes[1], outcomes[3]], "min") is None


def test_values_in_different_units_have_no_best() -> None:
    assert best_of([outcome(0, 1.0), outcome(1, 2.0, monitor="val/rmse")], "min") is None
    losses = [outcome(k, float(k), "completed", "val/loss", loss=name) for k, name in enumerate(("mse", "huber"))]
    assert best_of(losses, "min") is None
    seeds = [outcome(k, float(k), "completed", "val/loss", seed=str(k)) for k in range(2)]
    assert best_of(seeds, "min") == Candidate((seeds[0],))


def test_folds_are_summed_up() -> None:
    (candidate,) = candidates(folds(4, 1.0, 2.0, 6.0, seed="1"))
    assert (candidate.mean, candidate.num_folds, candidate.is_complete) == (3.0, 3, True)
    assert candidate.deviation == pytest.approx(7**0.5)  # of squares 4, 1 and 9 over 2
    assert candidate.label == "#4–6 seed=1"


def test_the_best_cross_validation_has_the_best_mean_over_all_folds() -> None:
    jobs = [*folds(0, 1.0, 1.0, 5.0, lr="a"), *folds(3, 2.0, 2.0, 2.0, lr="b"), *folds(6, 0.1, 0.1, None, lr="c")]
    best = best_of(jobs, "min")
    assert best is not None and best.label == "#3–5 lr=b"
    assert [candidate.is_complete for candidate in candidates(jobs)] == [True, True, False]
    assert best_of(folds(0, 0.1, None, 0.1), "min") is None


def test_an_unfinished_cross_validation_is_not_complete() -> None:
    (candidate,) = candidates(folds(0, 1.0, 2.0, num_folds=5))
    assert not candidate.is_complete and candidate.mean == statistics.fmean([1.0, 2.0])


def test_the_same_values_tried_twice_are_two_cross_validations() -> None:
    both = candidates([*folds(0, 1.0, 2.0, 3.0, lr="a"), *folds(3, 4.0, 5.0, 6.0, lr="a")])
    assert [candidate.mean for candidate in both] == [2.0, 5.0]
