"""Layers without weights that work on each value alone."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge

from tfrun import register
from tfrun.components.layers.draws import next_state, normal


@register.layer("exponential")
@keras.saving.register_keras_serializable("tfrun.layers")
class Exponential(keras.layers.Layer):
    """y = eˣ, of x's shape.

    As a regression's last layer it lets targets of very different sizes be predicted, all above 0.

    Source: Géron, chapter 12, "Custom layers".
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.exp(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


@register.layer("gaussian_noise")
@keras.saving.register_keras_serializable("tfrun.layers")
class GaussianNoise(keras.layers.Layer):
    """In training y = x + n, each n drawn from a normal distribution with mean 0; at other times y = x.

    The generator's state is a variable of the layer, so a resumed run draws the same noise.

    Source: Bishop, "Training with noise is equivalent to Tikhonov regularization", 1995; Géron, chapter 12
    (MyGaussianNoise).

    Args:
        stddev: the noise's standard deviation, in x's unit.
        seed: where the noise starts from; None draws it from Keras' global seed.
    """

    def __init__(self, stddev: Annotated[float, Ge(0)] = 0.1, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.stddev = float(stddev)
        self.seed = seed

    def build(self, input_shape: Any = None) -> None:
        # here and named, so that the state's path is the layer's
        self.seed_generator = keras.random.SeedGenerator(self.seed, name="seed_generator")

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self.stddev == 0:
            return inputs
        return inputs + self.stddev * normal(tf.shape(inputs), next_state(self.seed_generator), inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stddev": self.stddev, "seed": self.seed}
