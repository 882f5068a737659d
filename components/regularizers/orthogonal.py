"""A penalty that keeps a layer from shrinking or stretching what passes through it."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge

from tfrun import register


@register.regularizer("orthogonal")
@keras.saving.register_keras_serializable("tfrun.regularizers")
class Orthogonal(keras.regularizers.Regularizer):
    """factor·‖WᵀW − I‖², the sum of squares over all elements; where W is wider than high, of WWᵀ − I.

    W is the weight as a matrix, its last axis the columns.

    Source: Brock et al., "Neural photo editing with introspective adversarial networks", 2016, arXiv:1609.07093,
    section 3.3, with squares.

    Args:
        factor: how strong it is.
    """

    def __init__(self, factor: Annotated[float, Ge(0)] = 0.01):
        self.factor = float(factor)

    def __call__(self, w: tf.Tensor) -> tf.Tensor:
        matrix = tf.reshape(w, [-1, w.shape[-1]])
        products = tf.matmul(
            matrix,
            matrix,
            transpose_a=matrix.shape[0] >= matrix.shape[1],
            transpose_b=matrix.shape[0] < matrix.shape[1],
        )
        return self.factor * tf.reduce_sum(tf.square(products - tf.eye(products.shape[0], dtype=w.dtype)))

    def get_config(self) -> dict[str, Any]:
        return {"factor": self.factor}
