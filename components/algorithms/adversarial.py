"""Defines `gan`, which trains generative adversarial networks."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge

from tfrun import register
from tfrun.errors import ConfigError
from tfrun.protocols import ModelOffer


@register.algorithm("gan")
class Gan:
    """Generative adversarial training: a critic D learns to distinguish examples x from generated ones G(z), and the
    generator G to deceive D.

    The optimizer group `critic` minimizes mean(L(1, D(x)) + L(0, D(G(z)))) + gradient_penalty·mean((‖∂D/∂x̂‖₂ − 1)²),
    with x̂ between x and G(z); the group `generator` minimizes mean(L(1, D(G(z)))). L is the config's loss:
    binary_crossentropy, mse (least squares) or wasserstein. With `optimizer.groups.generator.every=5` the critic takes
    five steps for each step of the generator. The data's target isn't used. The critic's loss is reported as `loss`,
    the generator's as `generator_loss`; validation uses a fixed z.

    Source: Goodfellow et al., "Generative adversarial nets", 2014, arXiv:1406.2661; the penalty is Gulrajani et al.,
    "Improved training of Wasserstein GANs", 2017, arXiv:1704.00028, equation 3; Géron, chapter 17.

    Args:
        gradient_penalty: the weight of the penalty; 10 in the paper, for the Wasserstein loss.

    Raises:
        ConfigError: the model has no generator.
    """

    own_targets = True
    is_adversarial = True

    def __init__(self, gradient_penalty: Annotated[float, Ge(0)] = 0.0):
        self.gradient_penalty = gradient_penalty
        self.generator_loss = keras.metrics.Mean("generator_loss")
        self.generator_loss.higher_is_better = False

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.generator_loss]

    def forward(self, model: Any, loss: Any, x: Any, y: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Returns the scalar losses of the critic and the generator, and D(x), (B, 1)."""
        if ModelOffer.of(model).generate is None:
            raise ConfigError("algorithm=gan: needs a model with a critic and a generator. Use model=gan")
        x = model.values(x)
        generated = model.generate(tf.shape(x)[0], training=True)
        losses, scores = self._critic_losses(model, loss, x, tf.stop_gradient(generated), training=True)
        critic_loss = tf.reduce_mean(losses)
        if self.gradient_penalty > 0:
            critic_loss += self.gradient_penalty * self._penalty(model, x, tf.stop_gradient(generated))
        generated_scores = model(generated, training=True)
        generator_loss = tf.reduce_mean(loss(tf.ones_like(generated_scores), generated_scores))
        self.generator_loss.update_state(generator_loss)
        return {"critic": critic_loss, "generator": generator_loss}, scores

    def evaluate(self, model: Any, loss: Any, x: Any, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the critic's loss of each example, (B,), and D(x)."""
        x = model.values(x)
        generated = model.generate(tf.shape(x)[0], training=False)
        generated_scores = model(generated, training=False)
        self.generator_loss.update_state(loss(tf.ones_like(generated_scores), generated_scores))
        return self._critic_losses(model, loss, x, generated, training=False)

    def _critic_losses(
        self, model: Any, loss: Any, x: tf.Tensor, generated: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns L(1, D(x)) + L(0, D(G(z))) of each example, (B,), and D(x), (B, 1)."""
        scores = model(x, training=training)
        generated_scores = model(generated, training=training)
        return loss(tf.ones_like(scores), scores) + loss(tf.zeros_like(scores), generated_scores), scores

    def _penalty(self, model: Any, x: tf.Tensor, generated: tf.Tensor) -> tf.Tensor:
        """Returns mean((‖∂D/∂x̂‖₂ − 1)²), a scalar."""
        between = generated + model.draw_shares(x) * (x - generated)
        with tf.GradientTape() as tape:
            tape.watch(between)
            scores = model(between, training=True)
        slopes = tf.reshape(tape.gradient(scores, between), [tf.shape(x)[0], -1])
        lengths = tf.sqrt(tf.reduce_sum(tf.square(slopes), axis=1) + 1e-12)
        return tf.reduce_mean(tf.square(lengths - 1.0))
