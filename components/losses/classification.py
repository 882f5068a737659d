"""Losses for classification: y_true is (B, 1), y_pred are logits; the result is (B,)."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge, Lt

from tfrun import register


@register.loss("binary_crossentropy")
@keras.saving.register_keras_serializable("tfrun.losses")
class BinaryCrossentropy(keras.losses.Loss):
    """L(y, z) = −y'·log σ(z) − (1 − y')·log(1 − σ(z)), y' = y·(1 − s) + s/2, z the logit, s the label smoothing.

    y_true is (B, 1), 0 or 1; y_pred is (B, 1). For two classes.

    Args:
        label_smoothing: s, how far labels are drawn towards 1/2, so that logits stay bounded.
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
        labels = tf.cast(y_true, y_pred.dtype)
        labels = labels * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, y_pred), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@register.loss("sparse_categorical_crossentropy")
@keras.saving.register_keras_serializable("tfrun.losses")
class SparseCategoricalCrossentropy(keras.losses.Loss):
    """L(y, z) = −(1 − s)·log p_y − s·mean_k(log p_k), p = softmax(z), z the logits, s the label smoothing.

    y_true is (B, 1), the class number from 0 to K − 1; y_pred is (B, K). For three classes or more.

    Source: label smoothing is Szegedy et al., "Rethinking the Inception architecture", 2015, section 7.

    Args:
        label_smoothing: s, the share of a label that is spread over all K classes.
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
        log_p = tf.nn.log_softmax(y_pred)
        # One-hot instead of a gather: a class number out of range gives 0 in both, but no scatter in the gradient.
        labels = tf.one_hot(tf.cast(tf.squeeze(y_true, -1), tf.int32), y_pred.shape[-1], dtype=y_pred.dtype)
        of_label = tf.reduce_sum(labels * log_p, axis=-1)
        return -(1.0 - self.label_smoothing) * of_label - self.label_smoothing * tf.reduce_mean(log_p, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
