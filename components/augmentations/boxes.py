"""Boxes in images, as masks."""

from __future__ import annotations

import tensorflow as tf


def box(images: tf.Tensor, tops: tf.Tensor, *, lefts: tf.Tensor, heights: tf.Tensor, widths: tf.Tensor) -> tf.Tensor:
    """Returns which pixels are in each image's box, (B, H, W, 1) bool; what is outside of the image doesn't count.

    Args:
        images: (B, H, W, C).
        tops, lefts: the first row and column of each box, (B,) int32.
        heights, widths: its size, (B,) int32.
    """
    rows = tf.range(images.shape[1])[None]
    columns = tf.range(images.shape[2])[None]
    in_rows = (rows >= tops[:, None]) & (rows < (tops + heights)[:, None])
    in_columns = (columns >= lefts[:, None]) & (columns < (lefts + widths)[:, None])
    return (in_rows[:, :, None] & in_columns[:, None, :])[..., None]
