"""What is computed from true and predicted values, compared with values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tfrun.reports import measures


def test_residuals() -> None:
    found = measures.residuals(np.array([1.0, 2.0, 3.0, 6.0]), np.array([2.0, 2.0, 1.0, 7.0]))
    assert found is not None
    # errors 1, 0, -2, 1; the true values' mean is 3, and the sum of their squared distances 4 + 1 + 0 + 9 = 14
    assert (found.count, found.mae, found.mean, found.median) == (4, 1.0, 0.0, 1.0)
    assert found.rmse == pytest.approx(1.5**0.5) and found.r2 == pytest.approx(1 - 6 / 14)
    assert found.high == pytest.approx(1.7)  # 0, 1, 1, 2: at place 0.9 · 3 = 2.7


def test_r2_of_a_constant_target_is_undefined() -> None:
    found = measures.residuals(np.array([5.0, 5.0]), np.array([4.0, 7.0]))
    assert found is not None and found.r2 is None and found.mae == 1.5


def test_predictions_that_are_not_finite_are_left_out() -> None:
    found = measures.residuals(np.array([1.0, 2.0, 3.0]), np.array([np.nan, 3.0, np.inf]))
    assert found is not None and (found.count, found.mae) == (1, 1.0)
    assert measures.residuals(np.array([1.0]), np.array([np.nan])) is None


def test_histogram() -> None:
    counts, edges = measures.histogram(np.array([0.0, 0.1, 0.9, 1.0, np.nan]), 2)
    assert counts.tolist() == [2, 2] and edges.tolist() == [0.0, 0.5, 1.0]
    counts, edges = measures.histogram(np.array([0.4]), 2, limits=(0.0, 1.0))
    assert counts.tolist() == [1, 0] and edges.tolist() == [0.0, 0.5, 1.0]


def test_thresholds_with_a_tie() -> None:
    """Scores 0.9+, 0.8−, 0.6+, 0.6−, 0.1−: the positive rows are above 3 + 1.5 of the 6 pairs' negative rows."""
    is_positive = np.array([True, False, True, False, False])
    found = measures.thresholds(is_positive, np.array([0.9, 0.8, 0.6, 0.6, 0.1]))
    assert found is not None and (found.positives, found.negatives) == (2, 3)
    assert found.false_positive_rates.tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3, 1])
    assert found.recalls.tolist() == [0, 0.5, 0.5, 1, 1]
    assert found.precisions.tolist() == pytest.approx([1, 1 / 2, 1 / 2, 2 / 5])
    assert found.auc == pytest.approx((3 + 1.5) / 6)
    assert found.average_precision == pytest.approx(0.5 * 1 + 0.5 * 0.5)


def test_thresholds_agree_with_the_definition_over_pairs() -> None:
    draws = np.random.default_rng(0)
    is_positive, scores = draws.random(80) < 0.3, np.round(draws.random(80), 1)
    pairs = scores[is_positive][:, None] - scores[~is_positive]
    found = measures.thresholds(is_positive, scores)
    assert found is not None and found.auc == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())


@pytest.mark.parametrize("is_positive", [[True, True], [False, False], []])
def test_one_class_alone_has_no_curve(is_positive: list[bool]) -> None:
    assert measures.thresholds(np.array(is_positive, bool), np.linspace(0, 1, len(is_positive))) is None


def test_scores_that_are_no_numbers_are_left_out() -> None:
    found = measures.thresholds(np.array([True, True, False]), np.array([np.nan, 0.7, 0.2]))
    assert found is not None and (found.positives, found.negatives, found.auc) == (1, 1, 1.0)


def test_calibration() -> None:
    chances = np.array([0.0, 0.1, 0.45, 0.55, 1.0, np.nan])
    happened = np.array([False, True, True, False, True, True])
    bins = measures.calibration(happened, chances, num_bins=2)
    assert [(each.low, each.high, each.count) for each in bins] == [(0.0, 0.5, 3), (0.5, 1.0, 2)]
    assert [each.predicted for each in bins] == pytest.approx([0.55 / 3, 1.55 / 2])
    assert [each.share for each in bins] == pytest.approx([2 / 3, 1 / 2])
    assert measures.calibration_error(bins) == pytest.approx((3 * abs(0.55 / 3 - 2 / 3) + 2 * abs(0.775 - 0.5)) / 5)


def test_bins_without_rows_are_left_out() -> None:
    bins = measures.calibration(np.array([True, True]), np.array([1.0, 0.99]))
    assert [(each.low, each.high, each.count) for each in bins] == [(0.9, 1.0, 2)]
    nothing = np.zeros(0)
    assert measures.calibration(nothing > 0, nothing) == [] and measures.calibration_error([]) is None


def test_confusion() -> None:
    counts = measures.confusion(np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 0, 0, 2]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]
    assert measures.most_confused(counts, 5) == [(2, 0, 2), (0, 1, 1)]
    assert measures.most_confused(counts, 1) == [(2, 0, 2)]


def test_measures_of_classes() -> None:
    """Class b is predicted once and has no row; class c has a row and is never predicted."""
    first, second, third = measures.class_measures(np.array([[3, 1, 0], [0, 0, 0], [1, 0, 0]]))
    assert (first.count, first.precision, first.recall, first.f1) == (4, 0.75, 0.75, 0.75)
    assert (second.count, second.precision, second.recall, second.f1) == (0, 0.0, None, 0.0)
    assert (third.count, third.precision, third.recall, third.f1) == (1, None, 0.0, 0.0)
    assert measures.class_measures(np.zeros((1, 1)))[0].f1 is None


def test_counts_at_thresholds() -> None:
    """Thresholds 0, 0.5 and 1: all reach the first; 0.5, 0.7 and 1 the second; 1 the third."""
    is_positive, scores = np.array([False, True, False, True, True]), np.array([0.2, 0.5, 0.7, 1.0, np.nan])
    counts = measures.counts_at_thresholds(is_positive, scores, 3)
    assert counts is not None
    assert counts.tolist() == [[2, 2, 1], [2, 1, 0], [0, 1, 2], [0, 0, 1]]
    assert measures.counts_at_thresholds(is_positive[:1], scores[:1], 3) is None
