"""Defines `mc_dropout`, a model whose dropout stays on when it predicts."""

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
    """Monte Carlo dropout: predicts the mean of `num_samples` networks, which are one mlp with different units dropped.

    The networks are the same for every example and every call, so that predictions can be repeated. `samples` returns
    the prediction of each: their spread, which `tfrun predict` writes as `<target>_std`, shows how certain the model
    is. It takes the same inputs as `mlp`.

    Source: Gal and Ghahramani, "Dropout as a Bayesian approximation", 2015, arXiv:1506.02142; Géron, chapter 11
    (MCDropout).

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs; set by the engine.
        hidden_units: the width of each hidden layer.
        activation: the hidden layers' activation.
        dropout: the share of hidden values dropped.
        num_samples: the number of networks that a prediction averages.
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
        self.rate = dropout
        self.num_samples = num_samples
        options = {"kernel_initializer": initializer_for(activation), "dtype": self.dtype_policy}
        self.hidden = [
            keras.layers.Dense(units, function, name=f"hidden_{k}", **options)
            for k, units in enumerate(hidden_units, start=1)
        ]
        self.dropouts = [
            Dropout(dropout, dtype=self.dtype_policy, name=f"dropout_{k}") for k in range(1, len(hidden_units) + 1)
        ]
        for layer in self.dropouts:
            layer.build()  # here, since a prediction doesn't call them

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        if not training:
            return tf.reduce_mean(self.samples(inputs), axis=1)
        x = self.encode(inputs)
        for dense, dropout in zip(self.hidden, self.dropouts, strict=True):
            x = dropout(dense(x), training=True)
        return self.output_layer(x)

    def samples(self, inputs: Any) -> tf.Tensor:
        """Returns the prediction of each network, (B, num_samples, num_outputs)."""
        x = self.encode(inputs)[:, None, :]
        for k, dense in enumerate(self.hidden):
            x = dense(x)
            kept = uniform([1, self.num_samples, x.shape[-1]], [k, 0]) >= self.rate
            x = x * tf.cast(kept, x.dtype) / (1.0 - self.rate)
        return self.output_layer(x)
