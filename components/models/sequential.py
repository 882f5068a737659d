"""Defines `sequential`, a stack of layers that the config names."""

from __future__ import annotations

import keras

from tfrun import Layer, register
from tfrun.components.layers.encode import DenseFeatures
from tfrun.components.models.inputs import output_dtype, symbolic_inputs
from tfrun.data.table import Features


@register.model("sequential")
def sequential(
    features: Features,
    num_outputs: int,
    layers: list[Layer] = [],  # noqa: B006 (the catalog reads literal defaults; never changed)
    flatten: bool = True,
    output_layers: list[Layer] = [],  # noqa: B006
) -> keras.Model:
    """Stacks the named layers, then a dense output layer.

    For example layers=[{name: dense, units: 30, activation: softplus}, layer_normalization].

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs; set by the engine.
        layers: names of layers, registered or those of Keras, or mappings with a name and parameters.
        flatten: whether the first layer gets one vector per example: a table's numbers and one-hot categories, or a
            flattened array. If false, it gets an array as it is, and the last layer's result is flattened for the
            output layer.
        output_layers: layers that follow the output layer, for example [exponential].
    """
    inputs = symbolic_inputs("sequential", features)
    x = DenseFeatures.of(features, name="features")(inputs) if flatten else inputs
    for layer in layers:
        x = layer(x)
    if len(x.shape) > 2:
        x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(num_outputs, dtype=output_dtype(), name="output")(x)
    for layer in output_layers:
        x = layer(x)
    return keras.Model(inputs, x, name="sequential")
