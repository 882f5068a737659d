"""Losses for regression: y_true and y_pred are (B, D), usually D = 1; the result is the mean over D, (B,).

With a standardized target (`data.target_scaling=standard`) an error of 1 is one standard deviation of the target.
"""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Gt, Lt

from tfrun import register


@register.loss("huber")
@keras.saving.register_keras_serializable("tfrun.losses")
class Huber(keras.losses.Loss):
    """Huber loss: L(e) = e²/2 where |e| ≤ delta, else delta·(|e| − delta/2), with e = y_pred − y_true.

    Quadratic for small errors and linear for large ones, so that outliers count less than with `mse`.

    Source: Huber, "Robust estimation of a location parameter", 1964.

    Args:
        delta: the error at which the loss changes from quadratic to linear, in the unit of the scaled target.
    """

    task = "regression"

    def __init__(
        self,
        delta: Annotated[float, Gt(0)] = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "huber",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.delta = delta

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        error = tf.abs(y_pred - y_true)
        clipped = tf.minimum(error, self.delta)  # clipped·(error − clipped/2) is both branches without a tf.where
        return tf.reduce_mean(clipped * (error - 0.5 * clipped), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "delta": self.delta}


@register.loss("mse")
@keras.saving.register_keras_serializable("tfrun.losses")
class MeanSquaredError(keras.losses.Loss):
    """Mean squared error: L(e) = e², with e = y_pred − y_true. The mean of the target minimizes it."""

    task = "regression"

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str = "mse", dtype: Any = None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.square(y_pred - y_true), axis=-1)


@register.loss("mae")
@keras.saving.register_keras_serializable("tfrun.losses")
class MeanAbsoluteError(keras.losses.Loss):
    """Mean absolute error: L(e) = |e|, with e = y_pred − y_true. The median of the target minimizes it."""

    task = "regression"

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str = "mae", dtype: Any = None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.abs(y_pred - y_true), axis=-1)


@register.loss("log_cosh")
@keras.saving.register_keras_serializable("tfrun.losses")
class LogCosh(keras.losses.Loss):
    """Log-cosh loss: L(e) = log(cosh(e)), with e = y_pred − y_true: about e²/2 for small e and |e| − log 2 for large e.

    It resembles `huber` with delta = 1, but is smooth everywhere.
    """

    task = "regression"

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str = "log_cosh", dtype: Any = None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        error = y_pred - y_true  # log cosh e = e + softplus(−2e) − log 2 does not overflow
        log_2 = tf.constant(0.6931471805599453, error.dtype)
        return tf.reduce_mean(error + tf.math.softplus(-2.0 * error) - log_2, axis=-1)


@register.loss("quantile")
@keras.saving.register_keras_serializable("tfrun.losses")
class Quantile(keras.losses.Loss):
    """Quantile (pinball) loss: L(e) = max(q·e, (q − 1)·e), with e = y_true − y_pred. The q-quantile minimizes it.

    Source: Koenker and Bassett, "Regression quantiles", 1978.

    Args:
        quantile: q, the share of targets that should lie below the prediction; 0.5 gives half of `mae`.
    """

    task = "regression"

    def __init__(
        self,
        quantile: Annotated[float, Gt(0), Lt(1)] = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str = "quantile",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.quantile = quantile

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        error = y_true - y_pred
        return tf.reduce_mean(tf.maximum(self.quantile * error, (self.quantile - 1.0) * error), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "quantile": self.quantile}
