"""Learning to give the inputs back."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfrun import register
from tfrun.errors import ConfigError
from tfrun.protocols import ModelOffer


@register.algorithm("reconstruct")
class Reconstruct:
    """total = mean over the batch of L(x, x̂) + the model's own losses, with x̂ = model(x) and x as one vector, (B, F).

    Of a table x is its standardized numbers beside its one-hot categories. For model=autoencoder, and any other with
    `values(x)` that gives such vectors. The data's target isn't used.

    Source: Géron, chapter 17.
    """

    own_targets = True

    def forward(self, model: Any, loss: Any, x: Any, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the scalar total loss and x̂, (B, F)."""
        losses, restored = self._compare(model, loss, x, training=True)
        total = tf.reduce_mean(losses)
        return tf.add_n([total, *(tf.cast(own, total.dtype) for own in model.losses)]), restored

    def evaluate(self, model: Any, loss: Any, x: Any, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the loss of each example, (B,), and x̂, (B, F)."""
        return self._compare(model, loss, x, training=False)

    def _compare(self, model: Any, loss: Any, x: Any, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        values_of = ModelOffer.of(model).values
        if values_of is None:
            raise ConfigError("algorithm=reconstruct: needs a model that gives its inputs back. Use model=autoencoder")
        values, restored = values_of(x), model(x, training=training)
        return loss(tf.reshape(tf.cast(values, restored.dtype), tf.shape(restored)), restored), restored
