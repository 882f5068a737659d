"""Defines `residual_mlp`, a perceptron with skip connections."""

from __future__ import annotations

from typing import Annotated

import keras
from annotated_types import Ge, Gt, Lt

from tfrun import Activation, Constraint, Initializer, Regularizer, register
from tfrun.components.layers.dropout import Dropout
from tfrun.components.layers.encode import DenseFeatures
from tfrun.components.models.initial import initializer_for
from tfrun.components.models.inputs import output_dtype, symbolic_inputs
from tfrun.data.table import Features


@register.model("residual_mlp")
def residual_mlp(
    features: Features,
    num_outputs: int,
    units: Annotated[int, Gt(0)] = 64,
    num_blocks: Annotated[int, Gt(0)] = 3,
    layers_per_block: Annotated[int, Gt(0)] = 2,
    activation: Activation = "elu",
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
    kernel_initializer: Initializer | None = None,
    kernel_regularizer: Regularizer | None = None,
    kernel_constraint: Constraint | None = None,
) -> keras.Model:
    """Residual multilayer perceptron: applies a dense layer, then blocks z ← z + h(z), where h is a few dense layers.

    It takes the same inputs as `mlp`.

    Source: the ResidualRegressor of Géron, chapter 12, where some of the blocks share their weights; here none do.

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs; set by the engine.
        units: the width of every hidden layer.
        num_blocks: the number of skip connections.
        layers_per_block: the number of dense layers that each connection skips.
        activation: the hidden layers' activation.
        dropout: the share of a block's values dropped in training, before they are added.
        kernel_initializer: the initializer of the hidden layers' weights; None picks one that suits the activation.
        kernel_regularizer: a penalty on the hidden layers' weights.
        kernel_constraint: a constraint on the hidden layers' weights, applied after each update.
    """
    inputs = symbolic_inputs("residual_mlp", features)
    initializer = initializer_for(activation, kernel_initializer)

    def dense(name: str) -> keras.layers.Layer:
        return keras.layers.Dense(
            units,
            activation,
            kernel_initializer=initializer,
            kernel_regularizer=kernel_regularizer,
            kernel_constraint=kernel_constraint,
            name=name,
        )

    x = DenseFeatures.of(features, name="features")(inputs)
    x = dense("entry")(x)
    for block in range(1, num_blocks + 1):
        block_input = x
        for k in range(1, layers_per_block + 1):
            x = dense(f"block_{block}_hidden_{k}")(x)
        if dropout > 0:
            x = Dropout(dropout, name=f"dropout_{block}")(x)
        x = keras.layers.Add(name=f"block_{block}")([block_input, x])
    outputs = keras.layers.Dense(num_outputs, dtype=output_dtype(), name="output")(x)
    return keras.Model(inputs, outputs, name="residual_mlp")
