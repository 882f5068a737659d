"""Defines `distill`, in which a model learns from the predictions of an earlier run's model too."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Le

from tfrun import register
from tfrun.data.targets import main_output


@register.algorithm("distill")
class Distill:
    """Knowledge distillation: total = mean over the batch of weight·d(t, ŷ) + (1 − weight)·loss(y, ŷ), and the model's
    own losses.

    t are the outputs of the teacher, the best weights of an earlier run, in inference. For classes both are logits, and
    d = T²·KL(softmax(t/T) ‖ softmax(ŷ/T)), with sigmoids if there is one logit; for numbers d is the mean of (t − ŷ)².
    Validation and test measure the loss of the config alone. With several outputs the main one learns from the teacher.

    The teacher must get the rows as this run encodes them: train both on the same data and splits, or begin with
    init=<the teacher's run> init.preprocessing=same 'init.new=[""]' 'init.unused=[""]'. A run that is resumed needs the
    teacher's folder again.

    Source: Hinton et al., "Distilling the knowledge in a neural network", 2015, arXiv:1503.02531, section 2.

    Args:
        teacher: the folder of the earlier run.
        weight: how much the teacher counts.
        temperature: T; with a higher one the smaller probabilities count more.
    """

    def __init__(
        self,
        teacher: str,
        weight: Annotated[float, Ge(0), Le(1)] = 0.5,
        temperature: Annotated[float, Gt(0)] = 2.0,
    ):
        self.teacher = teacher
        self.weight = weight
        self.temperature = temperature
        self._model: keras.Model | None = None

    def use_teacher(self, model: keras.Model) -> None:
        """Takes the teacher's model, whose weights are never changed."""
        self._model = model

    def forward(self, model: Any, loss: Any, x: Any, y: Any) -> tuple[tf.Tensor, Any]:
        """Returns the scalar total loss and y_pred, in training mode."""
        assert self._model is not None
        y_pred = model(x, training=True)
        losses = loss(y, y_pred)
        taught = tf.stop_gradient(main_output(self._model(x, training=False)))
        is_classes = main_output(y).dtype.is_integer
        distances = (self._divergence if is_classes else _square)(taught, main_output(y_pred))
        weight = tf.cast(self.weight, losses.dtype)
        total = tf.reduce_mean(weight * tf.cast(distances, losses.dtype) + (1.0 - weight) * losses)
        return tf.add_n([total, *(tf.cast(term, total.dtype) for term in model.losses)]), y_pred

    def _divergence(self, taught: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns T²·KL of the softened probabilities, (B,), of logits (B, K) or (B, 1)."""
        temperature = tf.cast(self.temperature, taught.dtype)
        if taught.shape[-1] == 1:  # one logit is the difference of two
            taught, y_pred = (tf.concat([tf.zeros_like(logit), logit], axis=-1) for logit in (taught, y_pred))
        expected = tf.nn.log_softmax(taught / temperature)
        predicted = tf.nn.log_softmax(y_pred / temperature)
        return temperature**2 * tf.reduce_sum(tf.exp(expected) * (expected - predicted), axis=-1)


def _square(taught: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.square(taught - y_pred), axis=-1)
