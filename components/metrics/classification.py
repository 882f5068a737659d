"""Metrics for classification: y_true is (B, 1), y_pred are logits; sample_weight is (B,) or None.

For two classes y_true is 0 or 1 and y_pred is (B, 1); for K > 2 classes y_true is the class number, and y_pred is
(B, K). Σ runs over the rows and w is a row's weight. Without a row that has a weight no metric is defined (NaN).
"""

from __future__ import annotations

from typing import Annotated, Any

import keras
import numpy as np
import tensorflow as tf
from annotated_types import Ge, Gt, Lt

from tfrun import register
from tfrun.errors import ConfigError

LOGITS_IN_BINS = 3.0  # what logits are divided by before they are counted


def _flat(values: Any) -> tf.Tensor:
    return tf.reshape(tf.cast(values, tf.float64), [-1])


def _binary(name: str, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns labels, logits and weights, each (B,) float64. Raises ConfigError for more than two classes."""
    if y_pred.shape[-1] != 1:
        raise ConfigError(f"metric.{name}: is for two classes. Received: {y_pred.shape[-1]} classes. Use accuracy.")
    labels = _flat(y_true)
    return labels, _flat(y_pred), tf.ones_like(labels) if sample_weight is None else _flat(sample_weight)


def _predicted_class(y_pred: Any) -> tf.Tensor:
    """Returns 1 if a single logit is above 0, or the index of the largest of K logits, (B,) int32."""
    if y_pred.shape[-1] == 1:
        return tf.cast(tf.reshape(y_pred, [-1]) > 0, tf.int32)
    return tf.argmax(y_pred, axis=-1, output_type=tf.int32)


class MeanOverRows(keras.metrics.Metric):
    """Σ w·value / Σ w, where a subclass defines the value of a row."""

    task = "classification"
    higher_is_better = True

    def __init__(self, name: str, dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_weight(shape=(), initializer="zeros", dtype="float64", name="total")
        self.count = self.add_weight(shape=(), initializer="zeros", dtype="float64", name="count")

    def value(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        raise NotImplementedError

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        values = self.value(y_true, y_pred)
        weights = tf.ones_like(values) if sample_weight is None else _flat(sample_weight)
        self.total.assign_add(tf.reduce_sum(weights * values))
        self.count.assign_add(tf.reduce_sum(weights))

    def result(self) -> tf.Tensor:
        return tf.cast(tf.convert_to_tensor(self.total) / tf.convert_to_tensor(self.count), self.dtype)


@register.metric("accuracy")
@keras.saving.register_keras_serializable("tfrun.metrics")
class Accuracy(MeanOverRows):
    """Accuracy = Σ w·[predicted class = y_true] / Σ w.

    The predicted class is 1 if a single logit is above 0, or the index of the largest of K logits.
    """

    task = "classification"
    higher_is_better = True

    def __init__(self, name: str = "accuracy", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)

    def value(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        return _flat(_predicted_class(y_pred) == tf.reshape(tf.cast(y_true, tf.int32), [-1]))


class HitsOver(keras.metrics.Metric):
    """Σ w·[predicted 1 and y_true = 1] / Σ w·[a subclass's condition].

    For two classes.
    """

    task = "classification"
    higher_is_better = True

    def __init__(self, threshold: float, name: str, dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.threshold = threshold
        self.hits = self.add_weight(shape=(), initializer="zeros", dtype="float64", name="hits")
        self.base = self.add_weight(shape=(), initializer="zeros", dtype="float64", name="base")

    def counted(self, labels: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels, logits, weights = _binary(self.name, y_true, y_pred, sample_weight)
        predicted = tf.cast(tf.sigmoid(logits) > tf.cast(self.threshold, logits.dtype), logits.dtype)
        self.hits.assign_add(tf.reduce_sum(weights * labels * predicted))
        self.base.assign_add(tf.reduce_sum(weights * self.counted(labels, predicted)))

    def share(self, hits: tf.Tensor, base: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError

    def result(self) -> tf.Tensor:
        return tf.cast(self.share(tf.convert_to_tensor(self.hits), tf.convert_to_tensor(self.base)), self.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold}


@register.metric("precision")
@keras.saving.register_keras_serializable("tfrun.metrics")
class Precision(HitsOver):
    """Precision = Σ w·[predicted 1 and y_true = 1] / Σ w·[predicted 1], or 0 if no row is predicted 1.

    For two classes. The 0 is that of Keras and scikit-learn: the model could have predicted otherwise.

    Args:
        threshold: a row is predicted 1 if its probability is above this.
    """

    task = "classification"
    higher_is_better = True

    def __init__(self, threshold: Annotated[float, Ge(0), Lt(1)] = 0.5, name: str = "precision", dtype: Any = None):
        super().__init__(threshold=threshold, name=name, dtype=dtype)

    def counted(self, labels: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
        return predicted

    def share(self, hits: tf.Tensor, base: tf.Tensor) -> tf.Tensor:
        return tf.math.divide_no_nan(hits, base)


@register.metric("recall")
@keras.saving.register_keras_serializable("tfrun.metrics")
class Recall(HitsOver):
    """Recall = Σ w·[predicted 1 and y_true = 1] / Σ w·[y_true = 1], not defined (NaN) if no row is 1.

    For two classes.

    Args:
        threshold: a row is predicted 1 if its probability is above this.
    """

    task = "classification"
    higher_is_better = True
    undefined_if = "no row is of the second class"

    def __init__(self, threshold: Annotated[float, Ge(0), Lt(1)] = 0.5, name: str = "recall", dtype: Any = None):
        super().__init__(threshold=threshold, name=name, dtype=dtype)

    def counted(self, labels: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
        return labels

    def share(self, hits: tf.Tensor, base: tf.Tensor) -> tf.Tensor:
        return hits / base


@register.metric("auc")
@keras.saving.register_keras_serializable("tfrun.metrics")
class AUC(keras.metrics.Metric):
    """Area under the ROC curve: AUC = P(p₁ > p₀) + P(p₁ = p₀)/2 for a random row of class 1 and one of class 0: the
    area under the ROC curve.

    For two classes. With the logits z, values σ(z/3) are counted in bins of equal width, and two rows in the same bin
    count as equal, so that the state has a fixed size. Such bins are narrow for probabilities near 0 and 1 too, where
    those of rare clicks are: bins of σ(z) itself would count most of them as equal. It is not defined (NaN) if one of
    the classes has no row.

    Source: Hanley and McNeil, "The meaning and use of the area under a ROC curve", 1982.

    Args:
        num_bins: the number of bins; the error is at most half the share of pairs that fall into the same bin.
    """

    task = "classification"
    higher_is_better = True
    undefined_if = "one of the two classes has no row"

    def __init__(self, num_bins: Annotated[int, Gt(1)] = 1000, name: str = "auc", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.num_bins = num_bins
        self.positives = self.add_weight(shape=(num_bins,), initializer="zeros", dtype="float64", name="positives")
        self.negatives = self.add_weight(shape=(num_bins,), initializer="zeros", dtype="float64", name="negatives")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels, logits, weights = _binary(self.name, y_true, y_pred, sample_weight)
        shares = tf.sigmoid(logits / LOGITS_IN_BINS)
        bins = tf.minimum(tf.cast(shares * self.num_bins, tf.int32), self.num_bins - 1)
        self.positives.assign_add(tf.math.unsorted_segment_sum(weights * labels, bins, self.num_bins))
        self.negatives.assign_add(tf.math.unsorted_segment_sum(weights * (1.0 - labels), bins, self.num_bins))

    def result(self) -> tf.Tensor:
        positives, negatives = tf.convert_to_tensor(self.positives), tf.convert_to_tensor(self.negatives)
        below = tf.cumsum(negatives, exclusive=True)
        wins = tf.reduce_sum(positives * (below + 0.5 * negatives))
        pairs = tf.reduce_sum(positives) * tf.reduce_sum(negatives)
        return tf.cast(wins / pairs, self.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bins": self.num_bins}


@register.metric("log_loss")
@keras.saving.register_keras_serializable("tfrun.metrics")
class LogLoss(MeanOverRows):
    """Log loss = −Σ w·log p_y / Σ w, p_y the predicted probability of a row's class: σ(z) or 1 − σ(z), or softmax(z)_y.

    For two classes or more. It is the mean of binary_crossentropy or sparse_categorical_crossentropy without label
    smoothing or class weights, whatever the loss that is minimized.
    """

    task = "classification"
    higher_is_better = False

    def __init__(self, name: str = "log_loss", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)

    def value(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        logits = tf.cast(y_pred, tf.float64)
        if y_pred.shape[-1] == 1:
            return tf.nn.sigmoid_cross_entropy_with_logits(_flat(y_true), _flat(logits))
        labels = tf.reshape(tf.cast(y_true, tf.int32), [-1])
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


@register.metric("fbeta")
@keras.saving.register_keras_serializable("tfrun.metrics")
class FBeta(keras.metrics.Metric):
    """F-beta score: F_β = (1 + β²)·TP / ((1 + β²)·TP + β²·FN + FP): the weighted harmonic mean of precision P and
    recall R.

    For two classes. TP, FN and FP are the total weights of the rows that are 1 and predicted 1, 1 and predicted 0, and
    0 and predicted 1. It is not defined (NaN) if no row is 1.

    Source: van Rijsbergen, "Information retrieval", 1979, chapter 7.

    Args:
        beta: β, how many times as important recall is as precision; 1 gives F1.
        threshold: a row is predicted 1 if its probability is above this.
    """

    task = "classification"
    higher_is_better = True
    undefined_if = "no row is of the second class"

    def __init__(
        self,
        beta: Annotated[float, Gt(0)] = 1.0,
        threshold: Annotated[float, Ge(0), Lt(1)] = 0.5,
        name: str = "fbeta",
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.beta = beta
        self.threshold = threshold
        zero = {"shape": (), "initializer": "zeros", "dtype": "float64"}
        self.hits = self.add_weight(name="hits", **zero)  # TP
        self.positives = self.add_weight(name="positives", **zero)  # TP + FN
        self.predicted = self.add_weight(name="predicted", **zero)  # TP + FP

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels, logits, weights = _binary(self.name, y_true, y_pred, sample_weight)
        predicted = tf.cast(tf.sigmoid(logits) > tf.cast(self.threshold, logits.dtype), logits.dtype)
        self.hits.assign_add(tf.reduce_sum(weights * labels * predicted))
        self.positives.assign_add(tf.reduce_sum(weights * labels))
        self.predicted.assign_add(tf.reduce_sum(weights * predicted))

    def result(self) -> tf.Tensor:
        square = tf.cast(self.beta, tf.float64) ** 2
        hits, positives, predicted = map(tf.convert_to_tensor, (self.hits, self.positives, self.predicted))
        share = (1.0 + square) * hits / (square * positives + predicted)
        return tf.cast(tf.where(positives > 0, share, np.nan), self.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta": self.beta, "threshold": self.threshold}


@register.metric("calibration_error")
@keras.saving.register_keras_serializable("tfrun.metrics")
class CalibrationError(keras.metrics.Metric):
    """Expected calibration error: ECE = Σ_b |Σ w·[row is correct] − Σ w·p| / Σ w; a bin b's sums run over the rows
    whose p falls into it.

    p is the probability of the predicted class; the bins are equal parts of the range from 0 to 1. A result of 0 means
    that of the rows predicted with probability p, a share p is correct.

    Source: Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", 2015; Guo et al., "On
    calibration of modern neural networks", 2017, arXiv:1706.04599, equation 3.

    Args:
        num_bins: the number of bins.
    """

    task = "classification"
    higher_is_better = False

    def __init__(self, num_bins: Annotated[int, Gt(0)] = 15, name: str = "calibration_error", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.num_bins = num_bins
        self.gaps = self.add_weight(shape=(num_bins,), initializer="zeros", dtype="float64", name="gaps")
        self.count = self.add_weight(shape=(), initializer="zeros", dtype="float64", name="count")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels = tf.reshape(tf.cast(y_true, tf.int32), [-1])
        logits = tf.cast(y_pred, tf.float64)
        if y_pred.shape[-1] == 1:
            logits = tf.concat([tf.zeros_like(logits), logits], axis=-1)
        probabilities = tf.nn.softmax(logits)
        is_correct = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32) == labels, tf.float64)
        confidence = tf.reduce_max(probabilities, axis=-1)
        weights = tf.ones_like(confidence) if sample_weight is None else _flat(sample_weight)
        bins = tf.minimum(tf.cast(confidence * self.num_bins, tf.int32), self.num_bins - 1)
        gaps = weights * (is_correct - confidence)
        self.gaps.assign_add(tf.math.unsorted_segment_sum(gaps, bins, self.num_bins))
        self.count.assign_add(tf.reduce_sum(weights))

    def result(self) -> tf.Tensor:
        total = tf.reduce_sum(tf.abs(tf.convert_to_tensor(self.gaps)))
        return tf.cast(total / tf.convert_to_tensor(self.count), self.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bins": self.num_bins}


@register.metric("confusion_matrix")
@keras.saving.register_keras_serializable("tfrun.metrics")
class ConfusionMatrix(keras.metrics.Metric):
    """Confusion matrix: C[i, j] = Σ w over the rows of class i predicted j; the result is the mean over classes of C[i,
    i]/Σ_j C[i, j].

    The result is the balanced accuracy: every class counts the same, however rare it is; a class without rows is left
    out. TensorBoard shows the matrices of the best weights on the validation and test rows under Images.

    Source: Brodersen et al., "The balanced accuracy and its posterior distribution", 2010.
    """

    task = "classification"
    higher_is_better = True

    def __init__(self, name: str = "confusion_matrix", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.counts: Any = None

    def build(self, num_classes: int) -> None:
        shape = (num_classes, num_classes)
        self.counts = self.add_weight(shape=shape, initializer="zeros", dtype="float64", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        num_classes = max(2, y_pred.shape[-1])
        if self.counts is None:
            self.build(num_classes)
        labels = tf.reshape(tf.cast(y_true, tf.int32), [-1])
        predicted = _predicted_class(y_pred)
        weights = tf.ones_like(labels, tf.float64) if sample_weight is None else _flat(sample_weight)
        cells = tf.math.unsorted_segment_sum(weights, labels * num_classes + predicted, num_classes**2)
        self.counts.assign_add(tf.reshape(cells, [num_classes, num_classes]))

    def result(self) -> tf.Tensor:
        if self.counts is None:
            return tf.constant(np.nan, self.dtype)
        counts = tf.convert_to_tensor(self.counts)
        class_totals = tf.reduce_sum(counts, axis=1)
        recalls = tf.math.divide_no_nan(tf.linalg.diag_part(counts), class_totals)
        num_present = tf.reduce_sum(tf.cast(class_totals > 0, recalls.dtype))
        return tf.cast(tf.reduce_sum(recalls) / num_present, self.dtype)

    def matrix(self) -> np.ndarray:
        """Returns C, (K, K) float64; the engine plots it."""
        return np.asarray(self.counts)
