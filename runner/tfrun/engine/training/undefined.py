"""Results of Keras' metrics that have no value: Keras gives 0 for them, and a 0 would count as a value.

Metrics of tfrun give NaN by themselves. A metric of a person's own is as it says, unless it has seen no weight at all.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def value_of(metric: keras.metrics.Metric) -> tf.Tensor:
    """Returns a metric's result, a scalar float32; NaN if it is one of Keras' that isn't defined."""
    value = tf.cast(metric.result(), tf.float32)
    is_defined = _is_defined(metric)
    return value if is_defined is None else tf.where(is_defined, value, float("nan"))


def _is_defined(metric: Any) -> tf.Tensor | None:
    """Returns whether one of Keras' metrics has what it needs, a scalar bool; None for all others."""
    if isinstance(metric, keras.metrics.Mean):
        return tf.convert_to_tensor(metric.count) > 0
    if isinstance(metric, keras.metrics.AUC):
        has_positives = _total(metric.true_positives, metric.false_negatives) > 0
        return has_positives & (_total(metric.true_negatives, metric.false_positives) > 0)
    if isinstance(metric, keras.metrics.Recall):
        return _total(metric.true_positives, metric.false_negatives) > 0
    return None


def _total(*counts: keras.Variable) -> tf.Tensor:
    return tf.add_n([tf.reduce_sum(tf.convert_to_tensor(count)) for count in counts])
