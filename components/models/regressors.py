"""Defines the two regressors of Géron, chapter 12, as subclassed models."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge, Gt

from tfrun import Activation, register
from tfrun.components.layers.residual import ResidualBlock
from tfrun.components.models.initial import initializer_for
from tfrun.components.models.subclassed import Subclassed
from tfrun.data.table import Features


@register.model("residual_regressor")
@keras.saving.register_keras_serializable("tfrun.models")
class ResidualRegressor(Subclassed):
    """Residual regressor of the book: applies a dense layer, one residual block `repeats` times, another block, and a
    linear output layer.

    All repeats share one block's weights. It takes the same inputs as `mlp`.

    Source: Géron, chapter 12 (ResidualRegressor): 30 units, 2 layers per block, the first block 1 + 3 times.

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs; set by the engine.
        units: the width of every hidden layer.
        layers_per_block: the number of dense layers in a block.
        repeats: how many times the first block is applied.
        activation: the hidden layers' activation.
    """

    def __init__(
        self,
        features: Features,
        num_outputs: int,
        units: Annotated[int, Gt(0)] = 30,
        layers_per_block: Annotated[int, Gt(0)] = 2,
        repeats: Annotated[int, Gt(0)] = 4,
        activation: Activation = "elu",
        name: str = "residual_regressor",
        dtype: Any = None,
    ):
        function = keras.activations.get(activation)
        arguments = {"units": units, "layers_per_block": layers_per_block, "repeats": repeats}
        super().__init__(
            features, num_outputs, name, dtype, **arguments, activation=keras.activations.serialize(function)
        )
        self.repeats = repeats
        self.entry = keras.layers.Dense(
            units, function, kernel_initializer=initializer_for(function), dtype=self.dtype_policy, name="entry"
        )
        self.block_1 = ResidualBlock(layers_per_block, function, dtype=self.dtype_policy, name="block_1")
        self.block_2 = ResidualBlock(layers_per_block, function, dtype=self.dtype_policy, name="block_2")

    def call(self, inputs: Any) -> tf.Tensor:
        x = self.entry(self.encode(inputs))
        for _ in range(self.repeats):
            x = self.block_1(x)
        return self.output_layer(self.block_2(x))


@register.model("reconstructing_regressor")
@keras.saving.register_keras_serializable("tfrun.models")
class ReconstructingRegressor(Subclassed):
    """Regressor that also reconstructs its inputs: an mlp with loss + weight·mean((reconstruction − inputs)²).

    The model adds the second term with `add_loss`; the mean is reported as the metric `reconstruction_error`. The term
    makes the hidden layers keep the information in the inputs. It takes the same inputs as `mlp`.

    Source: Géron, chapter 12 (ReconstructingRegressor): five layers of 30 selu units, weight 0.05.

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs; set by the engine.
        units: the width of every hidden layer.
        num_layers: the number of hidden layers.
        activation: the hidden layers' activation.
        reconstruction_weight: the weight of the reconstruction error in the loss.
    """

    def __init__(
        self,
        features: Features,
        num_outputs: int,
        units: Annotated[int, Gt(0)] = 30,
        num_layers: Annotated[int, Gt(0)] = 5,
        activation: Activation = "selu",
        reconstruction_weight: Annotated[float, Ge(0)] = 0.05,
        name: str = "reconstructing_regressor",
        dtype: Any = None,
    ):
        function = keras.activations.get(activation)
        arguments = {"units": units, "num_layers": num_layers, "reconstruction_weight": reconstruction_weight}
        super().__init__(
            features, num_outputs, name, dtype, **arguments, activation=keras.activations.serialize(function)
        )
        self.reconstruction_weight = reconstruction_weight
        options = {"kernel_initializer": initializer_for(function), "dtype": self.dtype_policy}
        self.hidden = [
            keras.layers.Dense(units, function, name=f"hidden_{k}", **options) for k in range(1, num_layers + 1)
        ]
        self.reconstruct = keras.layers.Dense(self.num_values, dtype=self.variable_dtype, name="reconstruct")
        self.reconstruction_error = keras.metrics.Mean("reconstruction_error")
        self.reconstruction_error.higher_is_better = False

    def call(self, inputs: Any) -> tf.Tensor:
        x = values = self.encode(inputs)
        for layer in self.hidden:
            x = layer(x)
        restored = self.reconstruct(x)
        error = tf.reduce_mean(tf.square(restored - tf.cast(values, restored.dtype)))
        self.add_loss(self.reconstruction_weight * error)
        self.reconstruction_error.update_state(error, sample_weight=tf.cast(tf.shape(restored)[0], error.dtype))
        return self.output_layer(x)
