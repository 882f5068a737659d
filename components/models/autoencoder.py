"""Defines `autoencoder`, which compresses an example into a short code and restores it."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Gt

from tfrun import Activation, register
from tfrun.components.layers.encode import DenseFeatures
from tfrun.components.models.initial import initializer_for
from tfrun.components.models.inputs import check_features, num_values
from tfrun.components.models.subclassed import SavedWithArguments
from tfrun.data.table import Features


@register.model("autoencoder")
@keras.saving.register_keras_serializable("tfrun.models")
class Autoencoder(SavedWithArguments):
    """Autoencoder: encodes an example's values, (B, F), as a short code with dense layers, and decodes it to (B, F).

    The code describes an example in `code_size` numbers. The last layer is linear, so loss=mse suits numbers, and
    loss=binary_crossentropy, which takes logits, suits values from 0 to 1. It is meant for algorithm=reconstruct.

    Source: Géron, chapter 17 (stacked autoencoders): 100 selu units to either side of a code of 30, for 28 × 28 images.

    Args:
        features: describes the inputs; set by the engine.
        code_size: the length of the code.
        hidden_units: the width of each hidden layer of the encoder; the decoder has the same in reverse order.
        activation: the hidden layers' activation.
    """

    def __init__(
        self,
        features: Features,
        code_size: Annotated[int, Gt(0)] = 30,
        hidden_units: list[Annotated[int, Gt(0)]] = [100],  # noqa: B006 (the catalog reads literal defaults; never changed)
        activation: Activation = "selu",
        name: str = "autoencoder",
        dtype: Any = None,
    ):
        check_features("autoencoder", features)
        super().__init__(name=name, dtype=dtype)
        function = keras.activations.get(activation)
        self.arguments = {
            "features": features.to_config(),
            "code_size": code_size,
            "hidden_units": list(hidden_units),
            "activation": keras.activations.serialize(function),
        }
        self.values = DenseFeatures.of(features, name="features", dtype=self.dtype_policy)
        self.encoder = self._dense("encoder", hidden_units, function)
        self.code_layer = keras.layers.Dense(code_size, function, dtype=self.dtype_policy, name="code")
        self.decoder = self._dense("decoder", hidden_units[::-1], function)
        self.output_layer = keras.layers.Dense(num_values(features), dtype=self.variable_dtype, name="output")

    def _dense(self, name: str, widths: list[int], activation: Any) -> list[keras.layers.Layer]:
        """Returns a dense layer of each width, named `<name>_1`, `<name>_2` and so on."""
        options = {"kernel_initializer": initializer_for(activation), "dtype": self.dtype_policy}
        return [
            keras.layers.Dense(units, activation, name=f"{name}_{k}", **options)
            for k, units in enumerate(widths, start=1)
        ]

    def call(self, inputs: Any) -> tf.Tensor:
        x = self.code(inputs)
        for layer in [*self.decoder, self.output_layer]:
            x = layer(x)
        return x

    def code(self, inputs: Any) -> tf.Tensor:
        """Returns the code of each example, (B, code_size)."""
        x = self.values(inputs)
        for layer in [*self.encoder, self.code_layer]:
            x = layer(x)
        return x
