"""Dropout that stays on when the model predicts."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Gt, Lt

from tfrun import Activation, register
from tfrun.components.layers.draws import uniform
from tfrun.components.layers.dropout import Dropout
from tfrun.components.models.initial import initializer_for
from tfrun.components.models.subclassed import Subclassed
from tfrun.data.table import Features


@register.model("mc_dropout")
@keras.saving.register_keras_serializable("tfrun.models")
class MonteCarloDropout(Subclassed):
    """An mlp with dropout; a prediction is the mean over `num_samples` nets, each with some of its units dropped.

    The nets are the same for every example and at every call, so that predictions can be repeated. `samples` gives them
    one by one: their spread says how sure the model is. For what an mlp takes.

    Source: Gal and Ghahramani, "Dropout as a Bayesian approximation", 2015, arXiv:1506.02142; Géron, chapter 11
    (MCDropout).

    Args:
        features: what the inputs are; the engine gives it.
        num_outputs: how many outputs to give; the engine gives it.
        hidden_units: the width of each hidden layer.
        activation: the hidden layers' activation.
        dropout: the share of hidden values dropped.
        num_samples: how many nets a prediction asks.
    """

    def __init__(
        self,
        features: Features,
        num_outputs: int,
        hidden_units: list[Annotated[int, Gt(0)]] = [100, 100],  # noqa: B006 (the catalog reads literal defaults; never changed)
        activation: Activation = "relu",
        dropout: Annotated[float, Gt(0), Lt(1)] = 0.2,
        num_samples: Annotated[int, Gt(0)] = 32,
        name: str = "mc_dropout",
        dtype: Any = None,
    ):
        function = keras.activations.get(activation)
        arguments = {"hidden_units": list(hidden_units), "dropout": dropout, "num_samples": num_samples}
        super().__init__(
            features, num_outputs, name, dtype, **arguments, activation=keras.activations.serialize(function)
        )
        self.rate, self.num_samples = dropout, num_samples
        start = initializer_for(activation)
        self.hidden = [
            keras.layers.Dense(units, function, kernel_initializer=start, dtype=self.dtype_policy, name=f"hidden_{k}")
            for k, units in enumerate(hidden_units, start=1)
        ]
        self.dropouts = [
            Dropout(dropout, dtype=self.dtype_policy, name=f"dropout_{k}") for k in range(1, len(hidden_units) + 1)
        ]
        for layer in self.dropouts:
            layer.build()  # a prediction doesn't call them

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        if not training:
            return tf.reduce_mean(self.samples(inputs), axis=1)
        x = self.encode(inputs)
        for dense, dropout in zip(self.hidden, self.dropouts, strict=True):
            x = dropout(dense(x), training=True)
        return self.output_layer(x)

    def samples(self, inputs: Any) -> tf.Tensor:
        """Returns what each net says, (B, num_samples, num_outputs)."""
        x = self.encode(inputs)[:, None, :]
        for k, dense in enumerate(self.hidden):
            x = dense(x)
            kept = uniform([1, self.num_samples, x.shape[-1]], [k, 0]) >= self.rate
            x = x * tf.cast(kept, x.dtype) / (1.0 - self.rate)
        return self.output_layer(x)
