"""Defines `linear`, the linear model."""

from __future__ import annotations

import keras

from tfrun import register
from tfrun.components.layers.encode import DenseFeatures
from tfrun.components.models.inputs import output_dtype, symbolic_inputs
from tfrun.data.table import Features


@register.model("linear")
def linear(features: Features, num_outputs: int) -> keras.Model:
    """Linear model: computes y = W·x + b from numbers and one-hot categories, or from a flattened array.

    It is linear regression for a number target, and logistic or softmax regression for classes.

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs; set by the engine.
    """
    inputs = symbolic_inputs("linear", features)
    x = DenseFeatures.of(features, name="features")(inputs)
    outputs = keras.layers.Dense(num_outputs, dtype=output_dtype(), name="output")(x)
    return keras.Model(inputs, outputs, name="linear")
