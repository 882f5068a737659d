"""Defines `reconstruct`, which trains a model to restore its inputs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfrun import register
from tfrun.errors import ConfigError
from tfrun.protocols import ModelOffer


@register.algorithm("reconstruct")
class Reconstruct:
    """Reconstruction: total = mean over the batch of L(x, x̂) + the model's own losses, with x̂ = model(x) and x as one
    vector, (B, F).

    For a table, x holds its standardized numbers and one-hot categories. The model must have `values(x)`, which returns
    such vectors, as model=autoencoder does. The data's target isn't used.

    Source: Géron, chapter 17.

    Raises:
        ConfigError: the model has no `values`.
    """

    own_targets = True

    def forward(self, model: Any, loss: Any, x: Any, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the scalar total loss and x̂, (B, F)."""
        losses, restored = self._compare(model, loss, x, training=True)
        total = tf.reduce_mean(losses)
        return tf.add_n([total, *(tf.cast(term, total.dtype) for term in model.losses)]), restored

    def evaluate(self, model: Any, loss: Any, x: Any, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the loss of each example, (B,), and x̂, (B, F)."""
        return self._compare(model, loss, x, training=False)

    def _compare(self, model: Any, loss: Any, x: Any, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        values_of = ModelOffer.of(model).values
        if values_of is None:
            raise ConfigError("algorithm=reconstruct: needs a model that restores its inputs. Use model=autoencoder")
        values, restored = values_of(x), model(x, training=training)
        return loss(tf.reshape(tf.cast(values, restored.dtype), tf.shape(restored)), restored), restored
