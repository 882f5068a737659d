"""A stack of layers, written in the config."""

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
    """The named layers one after the other, then a dense layer with the outputs.

    For example layers=[{name: dense, units: 30, activation: softplus}, layer_normalization].

    Args:
        features: what the inputs are; the engine gives it.
        num_outputs: how many outputs to give; the engine gives it.
        layers: names of layers, registered or Keras' own, or mappings with a name and parameters.
        flatten: whether they get one vector of each example: a table's numbers beside its one-hot categories, or an
            array flattened. Where it is false they get an array as it is, and what they give is flattened for the
            outputs.
        output_layers: layers behind the outputs, for example [exponential].
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
