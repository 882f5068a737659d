"""Defines `orthogonal`, a penalty that keeps a layer from shrinking or stretching its inputs."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge

from tfrun import register


@register.regularizer("orthogonal")
@keras.saving.register_keras_serializable("tfrun.regularizers")
class Orthogonal(keras.regularizers.Regularizer):
    """Orthogonality penalty: factor·‖WᵀW − I‖², or factor·‖WWᵀ − I‖² if W has more columns than rows.

    ‖·‖² is the sum of the squares of all elements. W is the weight reshaped to a matrix with its last axis as columns.

    Source: Brock et al., "Neural photo editing with introspective adversarial networks", 2016, arXiv:1609.07093,
    section 3.3, with squares in place of absolute values.

    Args:
        factor: the strength of the penalty.
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
