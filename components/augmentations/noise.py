"""Defines `noise`."""

from __future__ import annotations

from typing import Annotated, Any

import tensorflow as tf
from annotated_types import Ge

from tfrun import register


@register.augmentation("noise")
class Noise:
    """Gaussian noise: x + deviation·n, with a normally distributed n for each value. For columns of numbers and for
    arrays.

    Args:
        deviation: the standard deviation, in the unit that the model sees: of standardized columns, whose own is 1, or
            of images from 0 to 1.
    """

    takes = "values"

    def __init__(self, deviation: Annotated[float, Ge(0)] = 0.1):
        self.deviation = deviation

    def __call__(self, values: tf.Tensor, draws: Any) -> tf.Tensor:
        return values + tf.cast(self.deviation, values.dtype) * tf.cast(draws.normal(*values.shape[1:]), values.dtype)
