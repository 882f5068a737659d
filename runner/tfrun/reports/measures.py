"""What is computed from true and predicted values: residuals, curves over thresholds, calibration, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NUM_BINS = 10  # of a calibration
NUM_COLUMNS = 24  # of a histogram


@dataclass(frozen=True)
class Residuals:
    """The errors of predicted numbers, predicted − true.

    Attributes:
        count: how many rows have a finite prediction.
        mae: the mean absolute error.
        rmse: the root of the mean squared error.
        mean: the mean error: above 0, predictions are too high.
        median, high: the median of the absolute errors, and the value that 90 % of them don't exceed.
        r2: 1 − Σ error² / Σ (true − mean of true)²; None if the true values don't differ.
    """

    count: int
    mae: float
    rmse: float
    mean: float
    median: float
    high: float
    r2: float | None


def residuals(true: np.ndarray, predicted: np.ndarray) -> Residuals | None:
    """Returns the errors of predicted numbers, (R,) each; None if no row has a finite one."""
    is_finite = np.isfinite(predicted) & np.isfinite(true)
    true, errors = true[is_finite], (predicted - true)[is_finite]
    if not len(errors):
        return None
    sizes, total = np.abs(errors), float(((true - true.mean()) ** 2).sum())
    return Residuals(
        count=len(errors),
        mae=float(sizes.mean()),
        rmse=float((errors**2).mean() ** 0.5),
        mean=float(errors.mean()),
        median=float(np.median(sizes)),
        high=float(np.quantile(sizes, 0.9)),
        r2=1 - float((errors**2).sum()) / total if total > 0 else None,
    )


def histogram(
    values: np.ndarray, num_columns: int = NUM_COLUMNS, *, limits: tuple[float, float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns how many of the finite values are in each of equally wide columns, (C,), and the edges, (C + 1,).

    Args:
        values: (R,).
        num_columns: C.
        limits: the first and the last edge; None for the least and the greatest value.
    """
    return np.histogram(values[np.isfinite(values)], bins=num_columns, range=limits)


@dataclass(frozen=True)
class Thresholds:
    """A two-class decision at each threshold, from the highest score down to the lowest.

    Attributes:
        false_positive_rates: the share of the negative rows that are at or above the threshold, (T + 1,); it begins
            with 0.
        recalls: the share of the positive rows, the true positive rate, (T + 1,); it begins with 0.
        precisions: the share of positive rows among those at or above the threshold, (T,), for `recalls[1:]`.
        positives, negatives: the numbers of rows.
    """

    false_positive_rates: np.ndarray
    recalls: np.ndarray
    precisions: np.ndarray
    positives: int
    negatives: int

    @property
    def auc(self) -> float:
        """The area under the ROC curve: the chance that a positive row has a higher score than a negative one."""
        return float(np.trapezoid(self.recalls, self.false_positive_rates))

    @property
    def average_precision(self) -> float:
        """Σ (recall − recall before) · precision over the thresholds."""
        return float((np.diff(self.recalls) * self.precisions).sum())


def thresholds(is_positive: np.ndarray, scores: np.ndarray) -> Thresholds | None:
    """Returns the decisions at each different score; None, since undefined, if one of the two classes has no row.

    Args:
        is_positive: (R,) bool.
        scores: (R,), the higher the likelier; rows whose score isn't a number are left out.
    """
    is_number = ~np.isnan(scores)
    is_positive, scores = is_positive[is_number], scores[is_number]
    positives = int(is_positive.sum())
    negatives = len(is_positive) - positives
    if not (positives and negatives):
        return None
    order = np.argsort(-scores, kind="stable")
    is_last = np.append(np.diff(scores[order]) != 0, True)  # of rows with the same score
    hits = np.cumsum(is_positive[order])[is_last]
    chosen = np.flatnonzero(is_last) + 1
    return Thresholds(
        false_positive_rates=np.append(0.0, (chosen - hits) / negatives),
        recalls=np.append(0.0, hits / positives),
        precisions=hits / chosen,
        positives=positives,
        negatives=negatives,
    )


def counts_at_thresholds(is_positive: np.ndarray, scores: np.ndarray, num_thresholds: int) -> np.ndarray | None:
    """Returns the decisions at thresholds from 0 to 1, as far from each other: a row is positive if it reaches one.

    Args:
        is_positive: (R,) bool.
        scores: (R,) from 0 to 1; rows whose score isn't a number are left out.
        num_thresholds: T, at least 2.

    Returns:
        (4, T): true positives, false positives, true negatives and false negatives; None if one of the two classes has
        no row.
    """
    is_number = ~np.isnan(scores)
    is_positive, scores = is_positive[is_number], scores[is_number]
    if is_positive.all() or not is_positive.any():
        return None
    limits = np.linspace(0, 1, num_thresholds)
    reached = np.searchsorted(limits, np.clip(scores, 0, 1), side="right")  # how many thresholds a score reaches
    hits, alarms = (
        np.bincount(reached[chosen], minlength=num_thresholds + 1)[::-1].cumsum()[::-1][1:]
        for chosen in (is_positive, ~is_positive)
    )
    return np.stack([hits, alarms, (~is_positive).sum() - alarms, is_positive.sum() - hits])


@dataclass(frozen=True)
class Bin:
    """Rows of about the same predicted probability.

    Attributes:
        low, high: the range of probabilities.
        count: the number of rows.
        predicted: the mean of their probabilities.
        share: how many of them the event happened to.
    """

    low: float
    high: float
    count: int
    predicted: float
    share: float


def calibration(happened: np.ndarray, chances: np.ndarray, num_bins: int = NUM_BINS) -> list[Bin]:
    """Returns the bins, equally wide from 0 to 1, that have any rows.

    Args:
        happened: (R,) bool.
        chances: the predicted probabilities, (R,); rows whose probability isn't a number are left out.
    """
    is_number = ~np.isnan(chances)
    happened, chances = happened[is_number], chances[is_number]
    numbers = np.minimum((chances * num_bins).astype(int), num_bins - 1)
    bins = []
    for number in np.unique(numbers).tolist():
        inside = numbers == number
        mean, share = float(chances[inside].mean()), float(happened[inside].mean())
        bins.append(Bin(number / num_bins, (number + 1) / num_bins, int(inside.sum()), mean, share))
    return bins


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """Returns the expected calibration error: the mean of |predicted − share| over the rows; None without any."""
    count = sum(each.count for each in bins)
    return sum(each.count * abs(each.predicted - each.share) for each in bins) / count if count else None


def confusion(true: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns how many rows of each class, down, are predicted as each class, across, (K, K)."""
    pairs = np.bincount(true * num_classes + predicted, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


@dataclass(frozen=True)
class ClassMeasures:
    """A class against all others; None is a value that isn't defined.

    Attributes:
        count: how many rows are of the class.
        precision: the share of rows of the class among those that are predicted to be.
        recall: the share of the rows of the class that are predicted to be.
        f1: 2 · hits / (rows of the class + rows predicted to be).
    """

    count: int
    precision: float | None
    recall: float | None
    f1: float | None


def class_measures(counts: np.ndarray) -> list[ClassMeasures]:
    """Returns the measures of each class of a confusion matrix, (K, K)."""

    def share(hits: float, of: float) -> float | None:
        return hits / of if of else None

    rows = zip(counts.diagonal().tolist(), counts.sum(axis=1).tolist(), counts.sum(axis=0).tolist(), strict=True)
    return [
        ClassMeasures(true, share(hits, predicted), share(hits, true), share(2 * hits, true + predicted))
        for hits, true, predicted in rows
    ]


def most_confused(counts: np.ndarray, num_pairs: int) -> list[tuple[int, int, int]]:
    """Returns (true class, predicted class, rows) of the most frequent mistakes, the most frequent first."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:num_pairs]
    pairs = (divmod(int(place), len(counts)) for place in order)
    return [(true, predicted, int(wrong[true, predicted])) for true, predicted in pairs if wrong[true, predicted]]
