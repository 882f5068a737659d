"""Defines `cutout`."""

from __future__ import annotations

from typing import Annotated, Any

import tensorflow as tf
from annotated_types import Gt, Le

from tfrun import register
from tfrun.components.augmentations.boxes import box


@register.augmentation("cutout")
class Cutout:
    """Cutout: sets a box of each image to one value. Its centre is any pixel, so that a part of it may lie outside.

    Source: DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.

    Args:
        size: the share of the height and of the width that the box has, rounded to whole pixels.
        value: what the pixels become, in the unit that the model sees.
    """

    def __init__(self, size: Annotated[float, Gt(0), Le(1)] = 0.25, value: float = 0.0):
        self.size = size
        self.value = value

    def __call__(self, images: tf.Tensor, draws: Any) -> tf.Tensor:
        starts, sizes = [], []
        for length in images.shape[1:3]:
            size = tf.cast(tf.round(tf.cast(self.size, tf.float32) * float(length)), tf.int32)
            centres = tf.cast(tf.floor(draws.uniform() * float(length)), tf.int32)
            starts.append(centres - size // 2)
            sizes.append(tf.zeros_like(centres) + size)
        inside = box(images, starts[0], lefts=starts[1], heights=sizes[0], widths=sizes[1])
        return tf.where(inside, tf.cast(self.value, images.dtype), images)
