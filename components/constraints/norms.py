"""Constraints that limit the length of each unit's vector of incoming weights.

For a matrix (inputs, units) and axis 0 that vector is a column.
"""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge, Gt

from tfrun import register

SMALLEST = 1e-7  # a shorter vector counts as this long, so that the division stays finite


def _length(w: tf.Tensor, axis: int) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(w), axis=axis, keepdims=True))


@register.constraint("max_norm")
@keras.saving.register_keras_serializable("tfrun.constraints")
class MaxNorm(keras.constraints.Constraint):
    """Largest norm: w ← w·min(1, max_value/‖w‖₂).

    Source: Srebro et al., "Maximum-margin matrix factorization", 2005; with dropout, Srivastava et al. 2014,
    section 5.1.

    Args:
        max_value: the largest length allowed.
        axis: the axis along which lengths are computed.
    """

    def __init__(self, max_value: Annotated[float, Gt(0)] = 2.0, axis: Annotated[int, Ge(0)] = 0):
        self.max_value = float(max_value)
        self.axis = axis

    def __call__(self, w: tf.Tensor) -> tf.Tensor:
        return w * tf.minimum(self.max_value / tf.maximum(_length(w, self.axis), SMALLEST), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {"max_value": self.max_value, "axis": self.axis}


@register.constraint("unit_norm")
@keras.saving.register_keras_serializable("tfrun.constraints")
class UnitNorm(keras.constraints.Constraint):
    """Unit norm: w ← w/‖w‖₂, so that every vector has length 1.

    Args:
        axis: the axis along which lengths are computed.
    """

    def __init__(self, axis: Annotated[int, Ge(0)] = 0):
        self.axis = axis

    def __call__(self, w: tf.Tensor) -> tf.Tensor:
        return w / tf.maximum(_length(w, self.axis), SMALLEST)

    def get_config(self) -> dict[str, Any]:
        return {"axis": self.axis}
