"""Metrics for classification: y_true is (B, 1), y_pred are logits; sample_weight is (B,) or None.

Two classes: y_true is 0 or 1 and y_pred is (B, 1). More: y_true is the class number and y_pred is (B, K).
Σ runs over the rows and w is the row's weight.
"""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Lt

from tfrun import register
from tfrun.errors import ConfigError


def _flat(values: Any) -> tf.Tensor:
    return tf.reshape(tf.cast(values, tf.float64), [-1])


def _binary(name: str, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns labels, logits and weights, each (B,) float64. Raises ConfigError for more than two classes."""
    if y_pred.shape[-1] != 1:
        raise ConfigError(f"metric.{name}: is for two classes. Received: {y_pred.shape[-1]} classes. Use accuracy.")
    labels = _flat(y_true)
    return labels, _flat(y_pred), tf.ones_like(labels) if sample_weight is None else _flat(sample_weight)


@register.metric("accuracy")
@keras.saving.register_keras_serializable("tfrun.metrics")
class Accuracy(keras.metrics.Metric):
    """Accuracy = Σ w·[predicted class = y_true] / Σ w.

    The predicted class is 1 where a single logit is above 0, or the greatest of K logits.
    """

    task = "classification"
    higher_is_better = True

    def __init__(self, name: str = "accuracy", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.correct = self.add_weight(shape=(), initializer="zeros", dtype="float64", name="correct")
        self.count = self.add_weight(shape=(), initializer="zeros", dtype="float64", name="count")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if y_pred.shape[-1] == 1:
            predicted = tf.cast(tf.reshape(y_pred, [-1]) > 0, tf.int32)
        else:
            predicted = tf.argmax(y_pred, axis=-1, output_type=tf.int32)
        hits = _flat(predicted == tf.reshape(tf.cast(y_true, tf.int32), [-1]))
        weights = tf.ones_like(hits) if sample_weight is None else _flat(sample_weight)
        self.correct.assign_add(tf.reduce_sum(hits * weights))
        self.count.assign_add(tf.reduce_sum(weights))

    def result(self) -> tf.Tensor:
        share = tf.math.divide_no_nan(tf.convert_to_tensor(self.correct), tf.convert_to_tensor(self.count))
        return tf.cast(share, self.dtype)


class HitsOver(keras.metrics.Metric):
    """Σ w·[predicted 1 and y_true = 1] / Σ w·[a subclass's condition], 0 where nothing meets it. Two classes."""

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

    def result(self) -> tf.Tensor:
        share = tf.math.divide_no_nan(tf.convert_to_tensor(self.hits), tf.convert_to_tensor(self.base))
        return tf.cast(share, self.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold}


@register.metric("precision")
@keras.saving.register_keras_serializable("tfrun.metrics")
class Precision(HitsOver):
    """Precision = Σ w·[predicted 1 and y_true = 1] / Σ w·[predicted 1], 0 where no row is predicted 1. Two classes.

    Args:
        threshold: a row is predicted 1 where its probability is above this.
    """

    task = "classification"
    higher_is_better = True

    def __init__(self, threshold: Annotated[float, Ge(0), Lt(1)] = 0.5, name: str = "precision", dtype: Any = None):
        super().__init__(threshold=threshold, name=name, dtype=dtype)

    def counted(self, labels: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
        return predicted


@register.metric("recall")
@keras.saving.register_keras_serializable("tfrun.metrics")
class Recall(HitsOver):
    """Recall = Σ w·[predicted 1 and y_true = 1] / Σ w·[y_true = 1], 0 where no row is 1. Two classes.

    Args:
        threshold: a row is predicted 1 where its probability is above this.
    """

    task = "classification"
    higher_is_better = True

    def __init__(self, threshold: Annotated[float, Ge(0), Lt(1)] = 0.5, name: str = "recall", dtype: Any = None):
        super().__init__(threshold=threshold, name=name, dtype=dtype)

    def counted(self, labels: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
        return labels


@register.metric("auc")
@keras.saving.register_keras_serializable("tfrun.metrics")
class AUC(keras.metrics.Metric):
    """AUC = P(p₁ > p₀) + P(p₁ = p₀)/2 for a random row of class 1 and one of class 0: the area under the ROC curve.

    Two classes. Probabilities are put into equal bins and two rows in one bin count as equal, so the state has a fixed
    size. Without a row of either class the result is 0.

    Source: Hanley and McNeil, "The meaning and use of the area under a ROC curve", 1982.

    Args:
        num_bins: the number of bins; the error is at most half the share of pairs that fall into one bin.
    """

    task = "classification"
    higher_is_better = True

    def __init__(self, num_bins: Annotated[int, Gt(1)] = 1000, name: str = "auc", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.num_bins = num_bins
        self.positives = self.add_weight(shape=(num_bins,), initializer="zeros", dtype="float64", name="positives")
        self.negatives = self.add_weight(shape=(num_bins,), initializer="zeros", dtype="float64", name="negatives")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        labels, logits, weights = _binary(self.name, y_true, y_pred, sample_weight)
        bins = tf.minimum(tf.cast(tf.sigmoid(logits) * self.num_bins, tf.int32), self.num_bins - 1)
        self.positives.assign_add(tf.math.unsorted_segment_sum(weights * labels, bins, self.num_bins))
        self.negatives.assign_add(tf.math.unsorted_segment_sum(weights * (1.0 - labels), bins, self.num_bins))

    def result(self) -> tf.Tensor:
        positives, negatives = tf.convert_to_tensor(self.positives), tf.convert_to_tensor(self.negatives)
        below = tf.cumsum(negatives, exclusive=True)
        wins = tf.reduce_sum(positives * (below + 0.5 * negatives))
        pairs = tf.reduce_sum(positives) * tf.reduce_sum(negatives)
        return tf.cast(tf.math.divide_no_nan(wins, pairs), self.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bins": self.num_bins}
