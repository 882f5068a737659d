"""Losses for classification: y_true is (B, 1), y_pred are logits; the result is (B,).

For two classes y_pred has one logit, (B, 1); for K > 2 classes it has K, (B, K).
"""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Lt

from tfrun import register
from tfrun.errors import ConfigError


@register.loss("binary_crossentropy")
@keras.saving.register_keras_serializable("tfrun.losses")
class BinaryCrossentropy(keras.losses.Loss):
    """Log loss of two classes: L(y, z) = −y'·log σ(z) − (1 − y')·log(1 − σ(z)), y' = y·(1 − s) + s/2, z the logit, s
    the label smoothing.

    For two classes: y_true is (B, 1), 0 or 1; y_pred is (B, 1).

    Args:
        label_smoothing: s, how far labels are moved towards 1/2, so that logits stay bounded.

    Raises:
        ConfigError: the model has an output for each of several classes.
    """

    task = "classification"

    def __init__(
        self,
        label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = label_smoothing

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        _need_two_classes("binary_crossentropy", y_true, y_pred)
        labels = tf.cast(y_true, y_pred.dtype)
        labels = labels * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, y_pred), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@register.loss("sparse_categorical_crossentropy")
@keras.saving.register_keras_serializable("tfrun.losses")
class SparseCategoricalCrossentropy(keras.losses.Loss):
    """Log loss of several classes: L(y, z) = −(1 − s)·log p_y − s·mean_k(log p_k), p = softmax(z), z the logits, s the
    label smoothing.

    For three classes or more: y_true is (B, 1), the class number from 0 to K − 1; y_pred is (B, K).

    Source: label smoothing is Szegedy et al., "Rethinking the Inception architecture", 2015, section 7.

    Args:
        label_smoothing: s, the share of a label that is spread over all K classes.

    Raises:
        ConfigError: the model has one output only.
    """

    task = "classification"

    def __init__(
        self,
        label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = label_smoothing

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        _need_more_classes("sparse_categorical_crossentropy", y_pred)
        log_p = tf.nn.log_softmax(y_pred)
        # One-hot instead of a gather, whose gradient needs a scatter; a class number out of range gives 0 in both.
        labels = tf.one_hot(tf.cast(tf.squeeze(y_true, -1), tf.int32), y_pred.shape[-1], dtype=y_pred.dtype)
        label_log_p = tf.reduce_sum(labels * log_p, axis=-1)
        return -(1.0 - self.label_smoothing) * label_log_p - self.label_smoothing * tf.reduce_mean(log_p, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@register.loss("focal")
@keras.saving.register_keras_serializable("tfrun.losses")
class Focal(keras.losses.Loss):
    """Focal loss, which counts easy rows less: L = −α_y·(1 − p_y)^γ·log p_y, p_y the probability that the logits give
    the true class.

    Cross-entropy in which rows that are already classified correctly count less; it suits classes of very different
    frequency. For two classes α_y is alpha for class 1 and 1 − alpha for class 0; for more classes it is 1. y_true is
    (B, 1), y_pred is (B, 1) or (B, K).

    Source: Lin et al., "Focal loss for dense object detection", 2017, arXiv:1708.02002, equation 5.

    Args:
        gamma: γ, how strongly rows that are already correct are down-weighted; 0 gives cross-entropy.
        alpha: the weight of class 1 of two classes; None gives both the weight 1.
    """

    task = "classification"

    def __init__(
        self,
        gamma: Annotated[float, Ge(0)] = 2.0,
        alpha: Annotated[float, Gt(0), Lt(1)] | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "focal",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.gamma = gamma
        self.alpha = alpha

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        if y_pred.shape[-1] == 1:
            labels = tf.cast(y_true, y_pred.dtype)[:, 0]
            log_p = tf.math.log_sigmoid((2.0 * labels - 1.0) * y_pred[:, 0])
        else:
            labels = tf.one_hot(tf.cast(y_true[:, 0], tf.int32), y_pred.shape[-1], dtype=y_pred.dtype)
            log_p = tf.reduce_sum(labels * tf.nn.log_softmax(y_pred), axis=-1)
        # −expm1(log p) computes 1 − p without losing digits near p = 1. The minimum of 1e-30 keeps the gradient of the
        # power finite, which for γ < 1 is infinite at 0.
        one_minus_p = tf.maximum(-tf.math.expm1(log_p), tf.constant(1e-30, log_p.dtype))
        values = -tf.exp(self.gamma * tf.math.log(one_minus_p)) * log_p
        if self.alpha is None or y_pred.shape[-1] > 1:
            return values
        return values * (labels * self.alpha + (1.0 - labels) * (1.0 - self.alpha))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self.gamma, "alpha": self.alpha}


def _need_two_classes(name: str, y_true: tf.Tensor, y_pred: tf.Tensor) -> None:
    if y_pred.shape[-1] != y_true.shape[-1]:  # an autoencoder has one logit and one target per value
        raise ConfigError(
            f"loss={name}: is for two classes, which take one output. Received: {y_pred.shape[-1]} outputs. "
            "Use sparse_categorical_crossentropy or focal"
        )


def _need_more_classes(name: str, y_pred: tf.Tensor) -> None:
    if y_pred.shape[-1] == 1:
        raise ConfigError(
            f"loss={name}: is for three classes or more. Received: one output. Use binary_crossentropy or focal"
        )
