"""Metrics for regression: y_true and y_pred are (B, 1) in the target's unit; sample_weight is (B,) or None.

Σ runs over the rows, w is a row's weight and e = y_pred − y_true. Without a row that has a weight no metric is defined
(NaN).
"""

from __future__ import annotations

from typing import Annotated, Any

import keras
import numpy as np
import tensorflow as tf
from annotated_types import Gt

from tfrun import register


def _flat(values: Any) -> tf.Tensor:
    return tf.reshape(tf.cast(values, tf.float64), [-1])


def _weights(sample_weight: Any, like: tf.Tensor) -> tf.Tensor:
    return tf.ones_like(like) if sample_weight is None else _flat(sample_weight)


class MeanOfErrors(keras.metrics.Metric):
    """Σ w·value(y, ŷ) / Σ w, where a subclass defines the value of a row."""

    task = "regression"
    higher_is_better = False

    def __init__(self, name: str, dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_weight(shape=(), initializer="zeros", dtype="float64", name="total")
        self.count = self.add_weight(shape=(), initializer="zeros", dtype="float64", name="count")

    def value(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        values = self.value(_flat(y_true), _flat(y_pred))
        weights = _weights(sample_weight, values)
        self.total.assign_add(tf.reduce_sum(values * weights))
        self.count.assign_add(tf.reduce_sum(weights))

    def mean(self) -> tf.Tensor:
        return tf.convert_to_tensor(self.total) / tf.convert_to_tensor(self.count)

    def result(self) -> tf.Tensor:
        return tf.cast(self.mean(), self.dtype)


@register.metric("mae")
@keras.saving.register_keras_serializable("tfrun.metrics")
class MeanAbsoluteError(MeanOfErrors):
    """MAE = Σ w·|e| / Σ w, in the target's unit."""

    task = "regression"
    higher_is_better = False

    def __init__(self, name: str = "mae", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)

    def value(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return tf.abs(y_pred - y_true)


@register.metric("mse")
@keras.saving.register_keras_serializable("tfrun.metrics")
class MeanSquaredError(MeanOfErrors):
    """MSE = Σ w·e² / Σ w, in the target's unit squared."""

    task = "regression"
    higher_is_better = False

    def __init__(self, name: str = "mse", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)

    def value(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return tf.square(y_pred - y_true)


@register.metric("rmse")
@keras.saving.register_keras_serializable("tfrun.metrics")
class RootMeanSquaredError(MeanOfErrors):
    """RMSE = √(Σ w·e² / Σ w), in the target's unit."""

    task = "regression"
    higher_is_better = False

    def __init__(self, name: str = "rmse", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)

    def value(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return tf.square(y_pred - y_true)

    def result(self) -> tf.Tensor:
        return tf.cast(tf.sqrt(self.mean()), self.dtype)


@register.metric("mape")
@keras.saving.register_keras_serializable("tfrun.metrics")
class MeanAbsolutePercentageError(MeanOfErrors):
    """MAPE = 100·Σ w·|e / y_true| / Σ w, in percent. A target of 0 counts as 1e-7."""

    task = "regression"
    higher_is_better = False

    def __init__(self, name: str = "mape", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)

    def value(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return 100.0 * tf.abs(y_pred - y_true) / tf.maximum(tf.abs(y_true), 1e-7)


@register.metric("huber")
@keras.saving.register_keras_serializable("tfrun.metrics")
class Huber(MeanOfErrors):
    """Huber loss: Σ w·L(e) / Σ w, L(e) = e²/2 where |e| ≤ delta, else delta·(|e| − delta/2).

    Source: Huber, "Robust estimation of a location parameter", 1964; as a metric in Géron, chapter 12.

    Args:
        delta: the error at which L changes from quadratic to linear, in the target's unit.
    """

    task = "regression"
    higher_is_better = False

    def __init__(self, delta: Annotated[float, Gt(0)] = 1.0, name: str = "huber", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.delta = delta

    def value(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        error = tf.abs(y_pred - y_true)
        clipped = tf.minimum(error, tf.cast(self.delta, error.dtype))
        return clipped * (error - 0.5 * clipped)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "delta": self.delta}


@register.metric("r2")
@keras.saving.register_keras_serializable("tfrun.metrics")
class R2(keras.metrics.Metric):
    """Coefficient of determination: R² = 1 − Σ w·e² / Σ w·(y_true − ȳ)², ȳ the weighted mean: the share of variance
    explained, at most 1.

    For a constant target the result is 1 if every prediction is exact and 0 otherwise, as in scikit-learn.
    """

    task = "regression"
    higher_is_better = True

    def __init__(self, name: str = "r2", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        zero = {"shape": (), "initializer": "zeros", "dtype": "float64"}
        self.count = self.add_weight(name="count", **zero)
        self.mean = self.add_weight(name="mean", **zero)
        self.spread = self.add_weight(name="spread", **zero)  # Σ w·(y − ȳ)²
        self.errors = self.add_weight(name="errors", **zero)  # Σ w·e²

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y, error = _flat(y_true), _flat(y_pred) - _flat(y_true)
        weights = _weights(sample_weight, y)
        # The counts, means and spreads of the earlier rows and of the batch are merged (Chan et al. 1979), because
        # Σy² − (Σy)²/n loses digits if the mean is large compared with the spread.
        before, added = tf.convert_to_tensor(self.count), tf.reduce_sum(weights)
        added_mean = tf.math.divide_no_nan(tf.reduce_sum(weights * y), added)
        shift = added_mean - tf.convert_to_tensor(self.mean)
        share = tf.math.divide_no_nan(added, before + added)
        self.spread.assign_add(tf.reduce_sum(weights * tf.square(y - added_mean)) + tf.square(shift) * before * share)
        self.mean.assign_add(shift * share)
        self.count.assign_add(added)
        self.errors.assign_add(tf.reduce_sum(weights * tf.square(error)))

    def result(self) -> tf.Tensor:
        errors, spread = tf.convert_to_tensor(self.errors), tf.convert_to_tensor(self.spread)
        # a spread that is no more than the rounding of the mean is that of a constant target
        rounding = tf.convert_to_tensor(self.count) * tf.square(tf.convert_to_tensor(self.mean) * 2.0**-44)
        spread = tf.where(spread > rounding, spread, tf.zeros_like(spread))
        constant = tf.where(errors > 0, tf.zeros_like(errors), tf.ones_like(errors))
        r2 = tf.where(spread > 0, 1.0 - tf.math.divide_no_nan(errors, spread), constant)
        return tf.cast(tf.where(tf.convert_to_tensor(self.count) > 0, r2, np.nan), self.dtype)
