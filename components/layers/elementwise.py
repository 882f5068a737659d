"""Layers without weights that transform each value separately."""

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
    """Exponential: y = eˣ, of x's shape.

    As the last layer of a regression it suits positive targets of very different sizes.

    Source: Géron, chapter 12, "Custom layers".
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.exp(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


@register.layer("gaussian_noise")
@keras.saving.register_keras_serializable("tfrun.layers")
class GaussianNoise(keras.layers.Layer):
    """Gaussian noise: y = x + n in training, with each n drawn from a normal distribution with mean 0; y = x outside of
    training.

    The generator's state is a variable of the layer, so a resumed run draws the same noise.

    Source: Bishop, "Training with noise is equivalent to Tikhonov regularization", 1995; Géron, chapter 12
    (MyGaussianNoise).

    Args:
        stddev: the noise's standard deviation, in x's unit.
        seed: the seed of the generator; None draws it from Keras' global seed.
    """

    def __init__(self, stddev: Annotated[float, Ge(0)] = 0.1, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.stddev = float(stddev)
        self.seed = seed

    def build(self, input_shape: Any = None) -> None:
        # Built here and with a name, so that the state's path is the layer's and doesn't count earlier generators.
        self.seed_generator = keras.random.SeedGenerator(self.seed, name="seed_generator")

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self.stddev == 0:
            return inputs
        return inputs + self.stddev * normal(tf.shape(inputs), next_state(self.seed_generator), inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stddev": self.stddev, "seed": self.seed}
