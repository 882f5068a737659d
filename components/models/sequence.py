"""Models of sequences."""

from __future__ import annotations

from typing import Annotated, Literal

import keras
from annotated_types import Ge, Gt, Lt

from tfrun import register
from tfrun.components.layers.dropout import Dropout
from tfrun.components.models.inputs import describe, output_dtype, symbolic_inputs
from tfrun.errors import ConfigError
from tfrun.table import Features


@register.model("sequence")
def sequence(
    features: Features,
    num_outputs: int,
    cell: Literal["gru", "causal_convolution"] = "gru",
    units: Annotated[int, Gt(0)] = 32,
    num_layers: Annotated[int, Gt(0)] = 1,
    kernel_size: Annotated[int, Gt(1)] = 2,
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
) -> keras.Model:
    """Reads a sequence (T, channels) or (T,) from its start to its end and predicts from what it then knows.

    Of an image, T are its rows. `gru` is a stack of gated recurrent units; `causal_convolution` a stack in which layer
    k sees values 2^(k−1) apart and none of the future, as in WaveNet.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014, arXiv:1406.1078; van den Oord
    et al., "WaveNet", 2016, arXiv:1609.03499; Géron, chapter 15.

    Args:
        features: what the inputs are; the engine gives it.
        num_outputs: how many outputs to give; the engine gives it.
        cell: what the layers are.
        units: the width of each layer.
        num_layers: how many there are.
        kernel_size: of a convolution: how many values it sees.
        dropout: the share of each layer's values dropped in training.
    """
    shapes = list(features.arrays.values())
    if len(shapes) != 1 or len(shapes[0]) not in (1, 2) or features.numbers or features.categories:
        raise ConfigError(f"model=sequence: needs sequences (T,) or (T, channels). Received: {describe(features)}")
    x = inputs = symbolic_inputs("sequence", features)
    if len(shapes[0]) == 1:
        x = keras.layers.Reshape((*shapes[0], 1), name="channel")(x)
    for k in range(1, num_layers + 1):
        is_last = k == num_layers
        if cell == "gru":
            x = keras.layers.GRU(units, return_sequences=not is_last, name=f"gru_{k}")(x)
        else:
            x = keras.layers.Conv1D(
                units,
                kernel_size,
                padding="causal",
                dilation_rate=2 ** (k - 1),
                activation="relu",
                kernel_initializer="he_normal",
                name=f"convolution_{k}",
            )(x)
            x = x[:, -1] if is_last else x
        if dropout > 0:
            x = Dropout(dropout, name=f"dropout_{k}")(x)
    outputs = keras.layers.Dense(num_outputs, dtype=output_dtype(), name="output")(x)
    return keras.Model(inputs, outputs, name="sequence")
