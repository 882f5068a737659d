"""Defines `gradient_penalty`, supervised learning with a penalty on the gradient by the inputs."""

from __future__ import annotations

from typing import Annotated, Any

import tensorflow as tf
from annotated_types import Ge

from tfrun import register


@register.algorithm("gradient_penalty")
class GradientPenalty:
    """Gradient penalty: total = mean over the batch of L_i + weight·‖∂L_i/∂x_i‖₂², and the model's own losses.

    The penalty keeps small changes of the inputs from changing the loss much. Its gradient needs second derivatives, so
    a step takes about twice as long. Categories and other whole numbers have no derivative and are left out.

    Source: Drucker and Le Cun, "Improving generalization performance using double backpropagation", 1992.

    Args:
        weight: the weight of the penalty.
    """

    def __init__(self, weight: Annotated[float, Ge(0)] = 0.1):
        self.weight = weight

    def forward(self, model: Any, loss: Any, x: Any, y: tf.Tensor) -> tuple[tf.Tensor, Any]:
        """Returns the scalar total loss and y_pred, in training mode."""
        parts = [part for part in tf.nest.flatten(x) if part.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(parts)
            y_pred = model(x, training=True)
            losses = loss(y, y_pred)
        penalty = tf.zeros([], losses.dtype)
        for slope in tape.gradient(losses, parts):  # an example's loss depends on its own inputs only
            if slope is not None:
                penalty += tf.reduce_sum(tf.square(slope)) / tf.cast(tf.shape(losses)[0], slope.dtype)
        total = tf.reduce_mean(losses) + self.weight * penalty
        return tf.add_n([total, *(tf.cast(term, total.dtype) for term in model.losses)]), y_pred
