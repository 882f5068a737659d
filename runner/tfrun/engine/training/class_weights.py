"""Weights of classes: factors of the losses of their rows, in training only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import keras
import tensorflow as tf

from tfrun.engine.training.hyperparameters import LearntInput


class ClassWeights:
    """Multiplies losses by the weights of their rows' classes while a step is traced for training.

    Each output's loss has the weights of its own target, so this happens inside of the loss, before the outputs' losses
    are added.

    Source: the `class_weight` of Keras' `fit`, which multiplies the rows' weights, of training rows alone.

    Args:
        weights: the weights of a target's classes, in the order of their ids, by the model's output that predicts it.

    Attributes:
        inputs: the weights as inputs of the program, by output.
    """

    def __init__(self, weights: Mapping[str, Sequence[float]]):
        self.inputs = {output: LearntInput(of_classes, keras.config.floatx()) for output, of_classes in weights.items()}
        self._applies = False

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Multiplies the losses that are computed, or traced, in the context."""
        before, self._applies = self._applies, True
        try:
            yield
        finally:
            self._applies = before

    def weigh(self, losses: tf.Tensor, y_true: tf.Tensor, *, target: str) -> tf.Tensor:
        """Returns losses, each multiplied by the weight of its row's class.

        Args:
            losses: of one output, (B, ...).
            y_true: the target that the output predicts: (B, 1) ids, or (B, 1) the probability of the second of two
                classes, or (B, C) the probability of each class.
            target: the name of the output that the target belongs to.
        """
        weights = self.inputs.get(target)
        if weights is None or not self._applies:
            return losses
        factors = _factors(y_true, weights.read(losses.dtype))
        return losses * tf.reshape(factors, [-1] + [1] * (losses.shape.rank - 1))


def _factors(y_true: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Returns the weight of each row, (B,); that of a row of several classes is the mean by their probabilities."""
    if y_true.dtype.is_integer:
        return tf.gather(weights, y_true[:, 0])
    if y_true.shape[-1] == 1:
        second = tf.cast(y_true[:, 0], weights.dtype)
        return weights[0] * (1 - second) + weights[1] * second
    return tf.linalg.matvec(tf.cast(y_true, weights.dtype), weights)
