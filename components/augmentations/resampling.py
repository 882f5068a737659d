"""Moves the pixels of images by gathers, which every backend has; TensorFlow's own transform has no XLA kernel."""

from __future__ import annotations

import tensorflow as tf


def shifted(images: tf.Tensor, down: tf.Tensor, *, right: tf.Tensor, fill: str) -> tf.Tensor:
    """Returns images moved by whole pixels.

    Args:
        images: (B, H, W, C).
        down, right: by how many pixels each image is moved, (B,) int32.
        fill: what stands where no pixel was, see `random_shift`.
    """
    return _moved(_moved(images, down, axis=1, fill=fill), right, axis=2, fill=fill)


def _moved(images: tf.Tensor, pixels: tf.Tensor, *, axis: int, fill: str) -> tf.Tensor:
    size = images.shape[axis]
    places = tf.range(size)[None] - pixels[:, None]  # (B, size): which pixel comes to each place
    if fill == "reflect":
        period = max(1, 2 * (size - 1))
        places = tf.math.floormod(places, period)
        places = tf.minimum(places, period - places)
    moved = tf.gather(images, tf.clip_by_value(places, 0, size - 1), axis=axis, batch_dims=1)
    if fill != "zero":
        return moved
    inside = tf.expand_dims((places >= 0) & (places < size), 3 - axis)  # (B, H, 1) or (B, 1, W)
    return tf.where(inside[..., None], moved, tf.zeros([], images.dtype))


def sampled(images: tf.Tensor, y: tf.Tensor, *, x: tf.Tensor, fill: str) -> tf.Tensor:
    """Returns images whose pixels are interpolated between the four that surround a place.

    Args:
        images: (B, H, W, C).
        y, x: the places, (B, H, W) float32; pixel (0, 0) is in the upper left corner.
        fill: "zero" outside of the image, or "edge", the nearest pixel.
    """
    top, left = tf.floor(y), tf.floor(x)
    below, beside = y - top, x - left
    result = tf.zeros([], images.dtype)
    for row, row_weight in ((top, 1 - below), (top + 1, below)):
        for column, column_weight in ((left, 1 - beside), (left + 1, beside)):
            weight = tf.cast(row_weight * column_weight, images.dtype)[..., None]
            result += weight * _pixels(images, tf.cast(row, tf.int32), tf.cast(column, tf.int32), fill=fill)
    return result


def _pixels(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, *, fill: str) -> tf.Tensor:
    """Returns the pixels at some places, (B, H, W) int32 each, as (B, H, W, C)."""
    _, height, width, channels = images.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    places = tf.clip_by_value(rows, 0, height - 1) * width + tf.clip_by_value(columns, 0, width - 1)
    flat = tf.reshape(images, [-1, height * width, channels])
    pixels = tf.reshape(
        tf.gather(flat, tf.reshape(places, [-1, height * width]), axis=1, batch_dims=1), [-1, *images.shape[1:]]
    )
    return pixels if fill == "edge" else tf.where(inside[..., None], pixels, tf.zeros([], images.dtype))
