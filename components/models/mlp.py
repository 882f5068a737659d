"""Defines `mlp`, the multilayer perceptron."""

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


@register.model("mlp")
def mlp(
    features: Features,
    num_outputs: int,
    hidden_units: list[Annotated[int, Gt(0)]] = [300, 100],  # noqa: B006 (the catalog reads literal defaults; never changed)
    activation: Activation = "relu",
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
    batch_normalization: bool = False,
    kernel_initializer: Initializer | None = None,
    kernel_regularizer: Regularizer | None = None,
    kernel_constraint: Constraint | None = None,
) -> keras.Model:
    """Multilayer perceptron: stacks dense layers on numbers and one-hot categories, or on a flattened array.

    Source: the defaults are those of the classifier of Géron, chapter 10.

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs; set by the engine.
        hidden_units: the width of each hidden layer.
        activation: the hidden layers' activation.
        dropout: the share of hidden values dropped in training.
        batch_normalization: whether each hidden layer is normalized before its activation.
        kernel_initializer: the initializer of the hidden layers' weights; None picks one that suits the activation.
        kernel_regularizer: a penalty on the hidden layers' weights.
        kernel_constraint: a constraint on the hidden layers' weights, applied after each update.
    """
    inputs = symbolic_inputs("mlp", features)
    x = DenseFeatures.of(features, name="features")(inputs)
    for k, units in enumerate(hidden_units, start=1):
        x = keras.layers.Dense(
            units,
            use_bias=not batch_normalization,
            kernel_initializer=initializer_for(activation, kernel_initializer),
            kernel_regularizer=kernel_regularizer,
            kernel_constraint=kernel_constraint,
            name=f"hidden_{k}",
        )(x)
        if batch_normalization:
            x = keras.layers.BatchNormalization(name=f"normalization_{k}")(x)
        x = keras.layers.Activation(activation, name=f"activation_{k}")(x)
        if dropout > 0:
            x = Dropout(dropout, name=f"dropout_{k}")(x)
    outputs = keras.layers.Dense(num_outputs, dtype=output_dtype(), name="output")(x)
    return keras.Model(inputs, outputs, name="mlp")
