"""Penalties on the size of weights; Σ runs over the elements of w."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge

from tfrun import register


@register.regularizer("l1")
@keras.saving.register_keras_serializable("tfrun.regularizers")
class L1(keras.regularizers.Regularizer):
    """L1 penalty: l1·Σ|w|, which sets weights to exactly 0.

    Source: Tibshirani, "Regression shrinkage and selection via the lasso", 1996; Géron, chapter 12
    (MyL1Regularizer).

    Args:
        l1: the strength of the penalty.
    """

    def __init__(self, l1: Annotated[float, Ge(0)] = 0.01):
        self.l1 = float(l1)

    def __call__(self, w: tf.Tensor) -> tf.Tensor:
        return self.l1 * tf.reduce_sum(tf.abs(w))

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1}


@register.regularizer("l2")
@keras.saving.register_keras_serializable("tfrun.regularizers")
class L2(keras.regularizers.Regularizer):
    """L2 penalty: l2·Σw², which keeps weights small; in plain SGD it is a weight decay of 2·l2.

    Source: Hoerl and Kennard, "Ridge regression", 1970.

    Args:
        l2: the strength of the penalty.
    """

    def __init__(self, l2: Annotated[float, Ge(0)] = 0.01):
        self.l2 = float(l2)

    def __call__(self, w: tf.Tensor) -> tf.Tensor:
        return self.l2 * tf.reduce_sum(tf.square(w))

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}


@register.regularizer("l1_l2")
@keras.saving.register_keras_serializable("tfrun.regularizers")
class L1L2(keras.regularizers.Regularizer):
    """Elastic net: l1·Σ|w| + l2·Σw²: the elastic net.

    Source: Zou and Hastie, "Regularization and variable selection via the elastic net", 2005.

    Args:
        l1: the strength of the first term, which sets weights to exactly 0.
        l2: the strength of the second term, which shrinks large weights.
    """

    def __init__(self, l1: Annotated[float, Ge(0)] = 0.01, l2: Annotated[float, Ge(0)] = 0.01):
        self.l1 = float(l1)
        self.l2 = float(l2)

    def __call__(self, w: tf.Tensor) -> tf.Tensor:
        return self.l1 * tf.reduce_sum(tf.abs(w)) + self.l2 * tf.reduce_sum(tf.square(w))

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}
