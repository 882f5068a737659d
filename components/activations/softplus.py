"""Defines `softplus` with a custom gradient, because autodiff of the plain formula fails for large inputs."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from tfrun import register


@register.activation("softplus")
@keras.saving.register_keras_serializable("tfrun.activations")
def softplus(x: tf.Tensor) -> tf.Tensor:
    """Softplus: f(x) = log(1 + eˣ), computed as max(x, 0) + log(1 + e^−|x|); f'(x) = 1/(1 + e^−x).

    Softplus is a smooth version of relu; x may have any shape. In float32 eˣ is infinite for x ≥ 89, so autodiff of the
    plain formula yields inf/inf there; both forms used here are finite everywhere.

    Source: Géron, chapter 12, "Computing gradients using autodiff" (my_better_softplus).
    """
    return _softplus(x)


@tf.custom_gradient
def _softplus(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return upstream * tf.sigmoid(x)

    return tf.maximum(x, 0.0) + tf.math.log1p(tf.exp(-tf.abs(x))), gradient
