"""Defines `pointwise`, an mlp that is applied to each point of a task."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Gt

from tfrun import Activation, register
from tfrun.components.models.initial import initializer_for
from tfrun.components.models.inputs import describe
from tfrun.components.models.subclassed import SavedWithArguments
from tfrun.data.table import Features
from tfrun.errors import ConfigError


@register.model("pointwise")
@keras.saving.register_keras_serializable("tfrun.models")
class Pointwise(SavedWithArguments):
    """A network for each point of a task: dense layers on the point's numbers except the last, which is the target:
    (…, D + 1) to (…, 1).

    The data must be tasks of points, so it is meant for algorithm=maml.

    Source: the defaults are those of the regressor of Finn et al., "Model-agnostic meta-learning", 2017, section 5.1.

    Args:
        features: describes the inputs; set by the engine.
        hidden_units: the width of each hidden layer.
        activation: the hidden layers' activation.

    Raises:
        ConfigError: the data isn't one array of tasks, (N, n, D + 1).
    """

    def __init__(
        self,
        features: Features,
        hidden_units: list[Annotated[int, Gt(0)]] = [40, 40],  # noqa: B006 (the catalog reads literal defaults; never changed)
        activation: Activation = "relu",
        name: str = "pointwise",
        dtype: Any = None,
    ):
        shapes = list(features.arrays.values())
        if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] < 2 or features.has_columns:
            raise ConfigError(f"model=pointwise: needs tasks of points (n, D + 1). Received: {describe(features)}")
        super().__init__(name=name, dtype=dtype)
        function = keras.activations.get(activation)
        self.arguments = {
            "features": features.to_config(),
            "hidden_units": list(hidden_units),
            "activation": keras.activations.serialize(function),
        }
        options = {"kernel_initializer": initializer_for(activation), "dtype": self.dtype_policy}
        self.stack = [
            keras.layers.Dense(units, function, name=f"hidden_{k}", **options)
            for k, units in enumerate(hidden_units, start=1)
        ]
        self.stack.append(keras.layers.Dense(1, dtype=self.variable_dtype, name="output"))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        x = inputs[..., :-1]
        for layer in self.stack:
            x = layer(x)
        return x
