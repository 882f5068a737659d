"""Defines `cutmix` and `mixup`, which mix each row of a batch with another one, and their targets with it."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import tensorflow as tf
from annotated_types import Gt
from scipy.special import betaincinv

from tfrun import register
from tfrun.components.augmentations.boxes import box

KNOTS = 1024  # of a distribution function, between which it is linear


@register.augmentation("mixup")
class Mixup:
    """Mixup: λ·x + (1 − λ)·x', with another row x' and a λ of the distribution Beta(alpha, alpha) for each row.

    The loss is λ times that for the row's own target and 1 − λ times that for the other row's. Metrics compare with the
    target of the larger share.

    Source: Zhang et al., "mixup: beyond empirical risk minimization", 2018.

    Args:
        alpha: the smaller, the nearer λ is to 0 or 1; 1 draws it evenly.
    """

    takes = "values"
    mixes = True

    def __init__(self, alpha: Annotated[float, Gt(0)] = 0.2):
        self.quantiles = _beta_quantiles(float(alpha))

    def __call__(self, values: tf.Tensor, others: tf.Tensor, draws: Any) -> tuple[tf.Tensor, tf.Tensor]:
        share = _interpolated(self.quantiles, draws.uniform())
        weight = tf.reshape(tf.cast(share, values.dtype), [-1, *(1 for _ in values.shape[1:])])
        return weight * values + (1.0 - weight) * others, share


@register.augmentation("cutmix")
class Cutmix:
    """CutMix: replaces a box of each image by that of another image; its area is 1 − λ, with λ of Beta(alpha, alpha).

    The part of the box that is outside of the image isn't replaced, so that λ becomes 1 − the share of replaced pixels.
    The loss is λ times that for the image's own target and 1 − λ times that for the other image's. Metrics compare with
    the target of the larger share.

    Source: Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable features", 2019.

    Args:
        alpha: the smaller, the nearer λ is to 0 or 1; 1 draws it evenly.
    """

    mixes = True

    def __init__(self, alpha: Annotated[float, Gt(0)] = 1.0):
        self.quantiles = _beta_quantiles(float(alpha))

    def __call__(self, images: tf.Tensor, others: tf.Tensor, draws: Any) -> tuple[tf.Tensor, tf.Tensor]:
        ratio = tf.sqrt(1.0 - _interpolated(self.quantiles, draws.uniform()))
        starts, sizes = [], []
        for length in images.shape[1:3]:
            centres = draws.uniform() * float(length)
            first = tf.floor(tf.maximum(centres - ratio * length / 2, 0.0))
            last = tf.floor(tf.minimum(centres + ratio * length / 2, float(length)))
            starts.append(tf.cast(first, tf.int32))
            sizes.append(tf.cast(last - first, tf.int32))
        inside = box(images, starts[0], lefts=starts[1], heights=sizes[0], widths=sizes[1])
        replaced = tf.cast(sizes[0] * sizes[1], tf.float32) / float(images.shape[1] * images.shape[2])
        return tf.where(inside, others, images), 1.0 - replaced


def _beta_quantiles(alpha: float) -> np.ndarray:
    """Returns the quantiles of Beta(alpha, alpha) at 0, 1/KNOTS, …, 1, float32."""
    return betaincinv(alpha, alpha, np.linspace(0.0, 1.0, KNOTS + 1)).astype("float32")


def _interpolated(quantiles: np.ndarray, uniform: tf.Tensor) -> tf.Tensor:
    """Returns random numbers of a distribution, (B,) float32, of numbers from 0 to below 1.

    A table is all that needs no loop until a number is accepted, and that gives the same numbers on every backend.
    """
    place = uniform * float(KNOTS)
    knot = tf.floor(place)
    lower = tf.cast(knot, tf.int32)
    below, above = (tf.gather(quantiles, lower + offset) for offset in (0, 1))
    return below + (above - below) * (place - knot)
