"""Defines `sequence`, a model that reads a sequence step by step."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Lt

from tfrun import register
from tfrun.components.layers.dropout import Dropout
from tfrun.components.layers.lookup import Lookup
from tfrun.components.models.inputs import describe, output_dtype, symbolic_inputs
from tfrun.data.table import Features
from tfrun.errors import ConfigError


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
    """Recurrent or causal convolutional network: reads a sequence, (T, channels) or (T,), from start to end and
    predicts from the values at its end.

    In an image, the rows are the T steps; in windows of a series (data.window), too. A token column (data.text) is
    a sequence too: each of its ids becomes a vector of length `units`, and the values at a text's last token are
    used. `gru` is a stack of gated recurrent units; `causal_convolution` is a stack in which layer k combines
    values 2^(k−1) steps apart and none of the future, as in WaveNet.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014, arXiv:1406.1078; van den Oord
    et al., "WaveNet", 2016, arXiv:1609.03499; Géron, chapter 15.

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs; set by the engine.
        cell: the kind of the layers.
        units: the width of each layer.
        num_layers: the number of layers.
        kernel_size: the number of values that a convolution combines.
        dropout: the share of each layer's values dropped in training.

    Raises:
        ConfigError: the data is neither one array of sequences nor one token column.
    """
    shapes = list(features.arrays.values())
    ids = None
    inputs = symbolic_inputs("sequence", features)
    if len(features.tokens) == 1 and not (features.numbers or features.categories):
        ((name, (num_ids, _)),) = features.tokens.items()
        ids = inputs[name]
        x = Lookup(num_ids, units, name="embedding")(ids)
    elif len(shapes) == 1 and len(shapes[0]) in (1, 2) and not features.has_columns:
        x = inputs if len(shapes[0]) == 2 else keras.layers.Reshape((*shapes[0], 1), name="channel")(inputs)
    else:
        raise ConfigError(
            "model=sequence: needs sequences (T,) or (T, channels), or a token column alone. "
            f"Received: {describe(features)}"
        )
    for k in range(1, num_layers + 1):
        is_last = k == num_layers
        if cell == "gru":
            x = keras.layers.GRU(units, return_sequences=not is_last or ids is not None, name=f"gru_{k}")(x)
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
            x = x[:, -1] if is_last and ids is None else x
        if is_last and ids is not None:
            x = LastToken(name="last")([x, ids])
        if dropout > 0:
            x = Dropout(dropout, name=f"dropout_{k}")(x)
    outputs = keras.layers.Dense(num_outputs, dtype=output_dtype(), name="output")(x)
    return keras.Model(inputs, outputs, name="sequence")


@keras.saving.register_keras_serializable("tfrun.models")
class LastToken(keras.layers.Layer):
    """Returns the values of a sequence, (B, T, C), at the last nonzero id of (B, T): (B, C)."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        x, ids = inputs
        lengths = tf.reduce_sum(tf.cast(ids > 0, tf.int32), axis=1)
        return tf.gather(x, tf.maximum(lengths - 1, 0), batch_dims=1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        return input_shape[0][0], input_shape[0][2]
