"""Softplus with a gradient of its own, since the textbook's formula has none for large numbers."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from tfrun import register


@register.activation("softplus")
@keras.saving.register_keras_serializable("tfrun.activations")
def softplus(x: tf.Tensor) -> tf.Tensor:
    """f(x) = log(1 + eˣ), worked out as max(x, 0) + log(1 + e^−|x|); f'(x) = 1/(1 + e^−x).

    A smooth relu. eˣ is infinite from x = 89 on in float32, so autodiff of the plain formula gives inf/inf there; both
    forms used here are finite everywhere.

    Source: Géron, chapter 12, "Computing gradients using autodiff" (my_better_softplus).
    """
    return _softplus(x)


@tf.custom_gradient
def _softplus(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return upstream * tf.sigmoid(x)

    return tf.maximum(x, 0.0) + tf.math.log1p(tf.exp(-tf.abs(x))), gradient
