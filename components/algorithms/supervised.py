"""Defines `supervised`, in which every optimizer group minimizes the same loss."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfrun import register


@register.algorithm("supervised")
class Supervised:
    """Supervised learning: total = mean over the batch of loss(y, ŷ) + the model's own losses (its regularizers and
    `add_loss`).
    """

    def forward(self, model: Any, loss: Any, x: Any, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the scalar total loss and y_pred (B, num_outputs), in training mode.

        Args:
            model: called as `model(x, training=True)`.
            loss: returns one value for each example, (B,), when called as `loss(y, y_pred)`.
            x: the inputs of B examples.
            y: the targets, (B, 1).
        """
        y_pred = model(x, training=True)
        total = tf.reduce_mean(loss(y, y_pred))
        return tf.add_n([total, *(tf.cast(term, total.dtype) for term in model.losses)]), y_pred
