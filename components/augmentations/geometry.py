"""Defines `random_crop`, `random_flip`, `random_rotate` and `random_shift`, which move the pixels of images."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import tensorflow as tf
from annotated_types import Ge, Le

from tfrun import register
from tfrun.components.augmentations.resampling import picked, sampled, shifted


@register.augmentation("random_flip")
class RandomFlip:
    """Random flip: mirrors half of the images from left to right, and half from top to bottom, as the options say.

    Args:
        horizontal: whether to mirror from left to right.
        vertical: whether to mirror from top to bottom.
    """

    def __init__(self, horizontal: bool = True, vertical: bool = False):
        if not (horizontal or vertical):
            raise ValueError("horizontal or vertical must be true")
        self.horizontal = horizontal
        self.vertical = vertical

    def __call__(self, images: tf.Tensor, draws: Any) -> tf.Tensor:
        batch, height, width, _ = images.shape
        columns, rows = (
            _mirrored(batch, size, draws.uniform(1) < 0.5 if is_on else tf.constant([[False]]))
            for size, is_on in ((width, self.horizontal), (height, self.vertical))
        )
        return picked(images, rows, columns)


@register.augmentation("random_crop")
class RandomCrop:
    """Random crop: pads an image at all sides and cuts its own size out of it, at a random place.

    So it moves the image by at most `padding` whole pixels up or down, and as many to the left or right. All places are
    equally likely.

    Source: He et al., "Deep residual learning for image recognition", 2016, section 4.2.

    Args:
        padding: the number of pixels at each side; smaller than the image.
        fill: the padding: zero; edge, the nearest pixel; reflect, the image mirrored at its edge.
    """

    def __init__(self, padding: Annotated[int, Ge(1)] = 4, fill: Literal["zero", "edge", "reflect"] = "zero"):
        self.padding = padding
        self.fill = fill

    def __call__(self, images: tf.Tensor, draws: Any) -> tf.Tensor:
        height, width = images.shape[1:3]
        if self.padding >= min(height, width):
            raise ValueError(f"padding must be smaller than the image, {height} x {width} pixels")
        down, right = (_whole(draws.uniform(), self.padding) for _ in range(2))
        return shifted(images, down, right=right, fill=self.fill)


@register.augmentation("random_shift")
class RandomShift:
    """Random shift: moves an image by whole pixels, at most by a share of its height and of its width. All places are
    equally likely.

    Args:
        height: the largest share of the height to move up or down by.
        width: the largest share of the width to move to the left or right by.
        fill: what stands where no pixel was: zero; edge, the nearest pixel; reflect, the image mirrored at its edge.
    """

    def __init__(
        self,
        height: Annotated[float, Ge(0), Le(1)] = 0.1,
        width: Annotated[float, Ge(0), Le(1)] = 0.1,
        fill: Literal["zero", "edge", "reflect"] = "zero",
    ):
        self.height = height
        self.width = width
        self.fill = fill

    def __call__(self, images: tf.Tensor, draws: Any) -> tf.Tensor:
        down, right = (
            _whole(draws.uniform(), tf.round(tf.cast(share, tf.float32) * float(size)))
            for share, size in ((self.height, images.shape[1]), (self.width, images.shape[2]))
        )
        return shifted(images, down, right=right, fill=self.fill)


@register.augmentation("random_rotate")
class RandomRotate:
    """Random rotation: rotates an image about its centre, by at most `degrees` to either side, with bilinear
    interpolation.

    Args:
        degrees: the largest angle.
        fill: what stands where no pixel was: zero, or edge, the nearest pixel.
    """

    def __init__(self, degrees: Annotated[float, Ge(0), Le(180)] = 15.0, fill: Literal["zero", "edge"] = "zero"):
        self.degrees = degrees
        self.fill = fill

    def __call__(self, images: tf.Tensor, draws: Any) -> tf.Tensor:
        height, width = images.shape[1:3]
        angle = (2.0 * draws.uniform(1, 1) - 1.0) * tf.cast(self.degrees, tf.float32) * (math.pi / 180.0)
        down = tf.range(height, dtype=tf.float32)[None, :, None] - (height - 1) / 2  # from the centre
        right = tf.range(width, dtype=tf.float32)[None, None, :] - (width - 1) / 2
        # a positive angle is counterclockwise
        y = (height - 1) / 2 + right * tf.sin(angle) + down * tf.cos(angle)
        x = (width - 1) / 2 + right * tf.cos(angle) - down * tf.sin(angle)
        return sampled(images, y, x=x, fill=self.fill)


def _whole(uniform: tf.Tensor, most: Any) -> tf.Tensor:
    """Returns whole numbers from −most to most, int32, of numbers from 0 to below 1."""
    most = tf.cast(most, tf.float32)
    return tf.cast(tf.floor(uniform * (2.0 * most + 1.0)) - most, tf.int32)


def _mirrored(batch: int, size: int, is_mirrored: tf.Tensor) -> tf.Tensor:
    """Returns the places 0 to size - 1, the other way round for the images that are mirrored, (B, size) int32."""
    places = tf.range(size)[None]
    return tf.broadcast_to(tf.where(is_mirrored, size - 1 - places, places), [batch, size])
