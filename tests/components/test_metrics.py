"""Compares each metric with NumPy, in one batch and in several, with weights and without, compiled."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from tfrun.components.metrics import classification, regression
from tfrun.errors import ConfigError

ROWS = 50


def numpy_huber(y: Any, p: Any, w: Any) -> Any:
    error = np.abs(p - y)
    return np.average(np.where(error <= 2, error**2 / 2, 2 * (error - 1)), weights=w)


def numpy_r2(y: Any, p: Any, w: Any) -> Any:
    return 1 - np.sum(w * (p - y) ** 2) / np.sum(w * (y - np.average(y, weights=w)) ** 2)


def numpy_auc(y: Any, z: Any, w: Any) -> Any:
    wins = np.where(z[:, None] > z, 1.0, np.where(z[:, None] == z, 0.5, 0.0))
    pairs = w[:, None] * w * (y[:, None] == 1) * (y == 0)
    return (pairs * wins).sum() / pairs.sum()


def numpy_f2(y: Any, z: Any, w: Any) -> Any:
    precision, recall = np.average(y[z > 0], weights=w[z > 0]), np.average(z[y == 1] > 0, weights=w[y == 1])
    return 5 * precision * recall / (4 * precision + recall)


def numpy_calibration_error(y: Any, z: Any, w: Any) -> Any:
    confidence = 1 / (1 + np.exp(-np.abs(z)))
    bins, is_correct = (confidence * 10).astype(int), (z > 0) == y
    return sum(abs(np.sum((w * (is_correct - confidence))[bins == b])) for b in range(10)) / w.sum()


def numpy_balanced_accuracy(y: Any, z: Any, w: Any) -> Any:
    return np.mean([np.average((z > 0)[y == k] == k, weights=w[y == k]) for k in (0, 1)])


REGRESSION = [
    (lambda: regression.MeanAbsoluteError(), lambda y, p, w: np.average(np.abs(p - y), weights=w)),
    (lambda: regression.MeanSquaredError(), lambda y, p, w: np.average((p - y) ** 2, weights=w)),
    (lambda: regression.RootMeanSquaredError(), lambda y, p, w: np.average((p - y) ** 2, weights=w) ** 0.5),
    (lambda: regression.MeanAbsolutePercentageError(), lambda y, p, w: np.average(abs(100 * (p - y) / y), weights=w)),
    (lambda: regression.Huber(delta=2.0), numpy_huber),
    (lambda: regression.R2(), numpy_r2),
]
BINARY = [
    (lambda: classification.Accuracy(), lambda y, z, w: np.average((z > 0) == y, weights=w)),
    (lambda: classification.Precision(), lambda y, z, w: np.average(y[z > 0], weights=w[z > 0])),
    (lambda: classification.Recall(), lambda y, z, w: np.average(z[y == 1] > 0, weights=w[y == 1])),
    (lambda: classification.AUC(num_bins=1_000_000), numpy_auc),
    (lambda: classification.LogLoss(), lambda y, z, w: np.average(np.log1p(np.exp(-z * (2 * y - 1))), weights=w)),
    (lambda: classification.FBeta(beta=2.0), numpy_f2),
    (lambda: classification.CalibrationError(num_bins=10), numpy_calibration_error),
    (lambda: classification.ConfusionMatrix(), numpy_balanced_accuracy),
]


def regression_rows() -> Any:
    rng = np.random.default_rng(0)
    y = rng.normal(200_000, 3, ROWS).astype("float32")  # with a mean far above the spread sums of squares lose digits
    return y, (y + rng.normal(0, 2, ROWS)).astype("float32")


def binary_rows() -> Any:
    rng = np.random.default_rng(1)
    return rng.integers(0, 2, ROWS).astype("float32"), rng.normal(0, 2, ROWS).astype("float32")


def in_batches(metric: Any, y: Any, p: Any, w: Any, sizes: Any) -> Any:
    """Returns the result after one batch, compiled by XLA, or after several, as one graph for all their sizes."""
    update = tf.function(metric.update_state, jit_compile=len(sizes) == 1, reduce_retracing=True)
    start = 0
    for size in sizes:
        rows = slice(start, start + size)
        weights = None if w is None else tf.constant(w[rows])
        update(tf.constant(y[rows])[:, None], tf.constant(p[rows])[:, None], sample_weight=weights)
        start += size
    assert start == ROWS
    return float(metric.result())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("make", "expected", "rows"),
    [(make, expected, regression_rows) for make, expected in REGRESSION]
    + [(make, expected, binary_rows) for make, expected in BINARY],
)
def test_equals_numpy_for_any_split_into_batches(make: Any, expected: Any, rows: Any, weighted: Any) -> None:
    y, p = rows()
    w = np.random.default_rng(2).uniform(0, 2, ROWS).astype("float32") if weighted else None
    by_numpy = expected(y.astype("float64"), p.astype("float64"), np.ones(ROWS) if w is None else w.astype("float64"))
    whole, split = in_batches(make(), y, p, w, [ROWS]), in_batches(make(), y, p, w, [1, 32, 7, 10])
    np.testing.assert_allclose(whole, by_numpy, rtol=1e-6)
    assert split == pytest.approx(whole, rel=1e-7)


def test_rows_of_weight_zero_do_not_count() -> None:
    metric = regression.MeanAbsoluteError()
    metric.update_state(np.array([[1.0], [0.0]]), np.array([[3.0], [100.0]]), sample_weight=np.array([1.0, 0.0]))
    assert float(metric.result()) == 2.0


def test_r2_of_a_constant_target() -> None:
    metric = regression.R2()
    metric.update_state(np.full((3, 1), 5.0), np.full((3, 1), 5.0))
    assert float(metric.result()) == 1.0
    metric.update_state(np.full((1, 1), 5.0), np.full((1, 1), 6.0))
    assert float(metric.result()) == 0.0


def test_accuracy_for_many_classes() -> None:
    metric = classification.Accuracy()
    logits = tf.constant([[1.0, 2.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 9.0]])
    labels = tf.constant([[1], [2], [2]])
    tf.function(metric.update_state, jit_compile=True)(labels, logits)
    assert float(metric.result()) == pytest.approx(2 / 3)


def test_confusion_matrix_for_many_classes() -> None:
    metric = classification.ConfusionMatrix()
    logits = tf.eye(3)[:, :]
    metric.update_state(tf.constant([[0], [0], [2]]), logits, sample_weight=tf.constant([1.0, 2.0, 0.5]))
    np.testing.assert_array_equal(metric.matrix(), [[1, 2, 0], [0, 0, 0], [0, 0, 0.5]])
    assert float(metric.result()) == pytest.approx((1 / 3 + 1) / 2)  # class 1 has no row


def test_calibration_error_for_many_classes() -> None:
    metric = classification.CalibrationError(num_bins=1)
    logits = tf.math.log(tf.constant([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    metric.update_state(tf.constant([[0], [1]]), logits)
    assert float(metric.result()) == pytest.approx(abs((1 - 0.5) + (0 - 0.8)) / 2)


# labels, logits, weights -> the result; NaN is what isn't defined
UNDEFINED = [
    (classification.AUC, [1, 1], [0.0, 2.0], None, np.nan),  # of one class
    (classification.AUC, [1, 0], [0.0, 2.0], [1.0, 0.0], np.nan),  # the other one has no weight
    (classification.AUC, [1, 0], [0.0, 2.0], None, 0.0),
    (classification.Recall, [0, 0], [2.0, -2.0], None, np.nan),
    (classification.Recall, [1, 0], [-2.0, -2.0], None, 0.0),
    (classification.FBeta, [0, 0], [-2.0, -2.0], None, np.nan),
    (classification.FBeta, [0, 0], [2.0, -2.0], None, np.nan),
    (classification.FBeta, [1, 0], [-2.0, -2.0], None, 0.0),
    (classification.Precision, [1, 0], [-2.0, -2.0], None, 0.0),  # none is predicted 1
    (classification.Accuracy, [1, 0], [2.0, 2.0], [0.0, 0.0], np.nan),
    (classification.LogLoss, [1, 0], [2.0, 2.0], [0.0, 0.0], np.nan),
    (classification.CalibrationError, [1, 0], [2.0, 2.0], [0.0, 0.0], np.nan),
    (classification.ConfusionMatrix, [1, 0], [2.0, 2.0], [0.0, 0.0], np.nan),
    (classification.ConfusionMatrix, [1, 1], [2.0, 2.0], None, 1.0),
    (regression.MeanAbsoluteError, [1, 0], [2.0, 2.0], [0.0, 0.0], np.nan),
    (regression.RootMeanSquaredError, [1, 0], [2.0, 2.0], [0.0, 0.0], np.nan),
    (regression.R2, [1, 0], [2.0, 2.0], [0.0, 0.0], np.nan),
]


@pytest.mark.parametrize(("make", "labels", "logits", "weights", "expected"), UNDEFINED)
def test_what_is_not_defined_is_nan(make: Any, labels: Any, logits: Any, weights: Any, expected: float) -> None:
    metric = make()
    y, z = np.array(labels, "float32")[:, None], np.array(logits, "float32")[:, None]
    metric.update_state(y, z, sample_weight=None if weights is None else np.array(weights, "float32"))
    np.testing.assert_equal(float(tf.function(metric.result, jit_compile=True)()), expected)


def test_auc_by_hand() -> None:
    metric = classification.AUC()
    metric.update_state(np.ones((2, 1)), np.zeros((2, 1)))
    # each row of class 1 ranks above one row of class 0 and below the other
    metric.update_state(np.array([[0.0], [0.0]]), np.array([[-1.0], [1.0]]))
    assert float(metric.result()) == 0.5


@pytest.mark.parametrize("mean", [0.0, -4.0, -7.0])  # of the logits: half, 3 % and 0.15 % of the rows are clicks
def test_auc_and_log_loss_of_rare_clicks_are_those_of_scikit_learn(mean: float) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(mean, 1, 100_000).astype("float32")
    y = (rng.random(z.size) < 1 / (1 + np.exp(-z))).astype("float32")
    w = rng.uniform(0.5, 2, z.size).astype("float32")
    for weights in (None, w):
        auc, log_loss = classification.AUC(), classification.LogLoss()
        for metric in (auc, log_loss):
            metric.update_state(y[:, None], z[:, None], sample_weight=weights)
        expected = roc_auc_score(y, z, sample_weight=weights)
        assert float(auc.result()) == pytest.approx(expected, abs=1e-3)
        p = 1 / (1 + np.exp(-z.astype("float64")))
        expected = sklearn_log_loss(y, np.stack([1 - p, p], axis=1), sample_weight=weights)
        assert float(log_loss.result()) == pytest.approx(expected, rel=1e-6)


def test_log_loss_of_several_classes_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    z, y, w = rng.normal(size=(50, 3)), rng.integers(0, 3, 50), rng.uniform(size=50)
    metric = classification.LogLoss()
    metric.update_state(y[:, None], z, sample_weight=w)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert float(metric.result()) == pytest.approx(sklearn_log_loss(y, p, sample_weight=w), rel=1e-6)


@pytest.mark.parametrize("make", [classification.AUC, classification.Precision, classification.Recall])
def test_two_class_metrics_refuse_more_classes(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"two classes\. Received: 3 classes"):
        make().update_state(tf.constant([[1]]), tf.constant([[1.0, 2.0, 3.0]]))
