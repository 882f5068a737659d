"""Defines `seasonal_naive`, the forecast that a model of series has to beat."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import numpy as np
import tensorflow as tf
from annotated_types import Gt

from tfrun import register
from tfrun.components.models.inputs import describe, output_dtype, symbolic_inputs
from tfrun.data.table import Features
from tfrun.errors import ConfigError


@register.model("seasonal_naive")
def seasonal_naive(
    features: Features, num_outputs: int, period: Annotated[int, Gt(0)] = 1, drift: bool = False
) -> keras.Model:
    """Seasonal naive forecast: predicts what the target was one period before: ŷ(t + h) = y(t + h − k·period) + k·d, k
    the fewest periods.

    With a period of 1 it repeats the last value. It is a baseline: what doesn't beat it has learnt nothing of use. It
    needs windows of a series (data.window) that are at least one period long.

    Source: Hyndman and Athanasopoulos, "Forecasting: principles and practice", 3rd edition, section 5.2.

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of steps to predict; set by the engine.
        period: the number of rows after which the series repeats: 12 for months of a year, 7 for days of a week.
        drift: whether d, the change from one period to the next, is learnt. It is 0 otherwise, and nothing is learnt:
            one epoch is enough.

    Raises:
        ConfigError: the data isn't windows of a series, or these are shorter than a period.
    """
    if not features.window:
        raise ConfigError(
            "model=seasonal_naive: needs windows of a series, 'data.window={length: 24, horizon: 12}'. "
            f"Received: {describe(features)}"
        )
    inputs = symbolic_inputs("seasonal_naive", features)
    length = inputs.shape[1]
    if period > length:
        raise ConfigError(f"model.period: must be at most data.window.length, {length}. Received: {period}")
    outputs = SeasonalNaive(num_outputs, period, drift=drift, dtype=output_dtype(), name="naive")(inputs)
    return keras.Model(inputs, outputs, name="seasonal_naive")


@keras.saving.register_keras_serializable("tfrun.models")
class SeasonalNaive(keras.layers.Layer):
    """Repeats the last period of the first column of windows (B, length, F): (B, horizon).

    Args:
        horizon: the number of steps to predict.
        period: the number of rows after which the series repeats.
        drift: whether the change from one period to the next is learnt.
    """

    def __init__(self, horizon: int, period: int, *, drift: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.horizon = horizon
        self.period = period
        self.drift = drift

    def build(self, input_shape: Any) -> None:
        """Makes the one weight, since a run needs one to train; it stays 0 without a drift."""
        self.change = self.add_weight(shape=(), initializer="zeros", name="drift")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        steps = np.arange(self.horizon)
        rows = inputs.shape[1] - self.period + steps % self.period
        repeated = tf.gather(tf.cast(inputs[:, :, 0], self.compute_dtype), rows, axis=1)
        periods = tf.constant(steps // self.period + 1.0, self.compute_dtype)
        # times 0, so that the weight has a gradient, which a run demands, and keeps its value
        return repeated + (1.0 if self.drift else 0.0) * self.change * periods

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        return input_shape[0], self.horizon

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "horizon": self.horizon, "period": self.period, "drift": self.drift}
