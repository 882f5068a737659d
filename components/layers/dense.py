"""Defines `dense`, the densely connected layer, written by hand as an example of a custom layer."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Gt

from tfrun import Activation, Constraint, Initializer, Regularizer, register


@register.layer("dense")
@keras.saving.register_keras_serializable("tfrun.layers")
class Dense(keras.layers.Layer):
    """Dense layer: y = f(x·W + b): (…, inputs) to (…, units), W of shape (inputs, units), b of (units,).

    Source: Géron, chapter 12, "Custom layers" (MyDense).

    Args:
        units: the number of outputs.
        activation: f; None is the identity.
        use_bias: whether to add b, which starts at 0.
        kernel_initializer: the initializer of W.
        kernel_regularizer: a penalty on W, added to the loss.
        kernel_constraint: a constraint on W, applied after each update.
    """

    def __init__(
        self,
        units: Annotated[int, Gt(0)],
        activation: Activation | None = None,
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        kernel_regularizer: Regularizer | None = None,
        kernel_constraint: Constraint | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros") if self.use_bias else None

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        y = tf.tensordot(inputs, tf.convert_to_tensor(self.kernel), axes=1)
        return self.activation(y if self.bias is None else y + tf.convert_to_tensor(self.bias))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }
