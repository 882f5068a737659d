"""Defines `random_brightness` and `random_contrast`, which change the values of pixels."""

from __future__ import annotations

from typing import Annotated, Any

import tensorflow as tf
from annotated_types import Ge, Le

from tfrun import register


@register.augmentation("random_brightness")
class RandomBrightness:
    """Random brightness: x + b, with one b from −amount to amount for each image. The result isn't cut to a range.

    Args:
        amount: the largest change, in the unit that the model sees: of a range from 0 to 1 for scaled images.
    """

    def __init__(self, amount: Annotated[float, Ge(0)] = 0.2):
        self.amount = amount

    def __call__(self, images: tf.Tensor, draws: Any) -> tf.Tensor:
        change = (2.0 * draws.uniform(1, 1, 1) - 1.0) * tf.cast(self.amount, tf.float32)
        return images + tf.cast(change, images.dtype)


@register.augmentation("random_contrast")
class RandomContrast:
    """Random contrast: (x − m)·c + m, with one c from 1 − amount to 1 + amount for each image, and m the mean of each
    channel.

    The result isn't cut to a range.

    Args:
        amount: the largest change of the factor.
    """

    def __init__(self, amount: Annotated[float, Ge(0), Le(1)] = 0.2):
        self.amount = amount

    def __call__(self, images: tf.Tensor, draws: Any) -> tf.Tensor:
        change = (2.0 * draws.uniform(1, 1, 1) - 1.0) * tf.cast(self.amount, tf.float32)
        mean = tf.reduce_mean(images, axis=[1, 2], keepdims=True)
        return (images - mean) * tf.cast(1.0 + change, images.dtype) + mean
