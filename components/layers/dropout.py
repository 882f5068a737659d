"""Defines `dropout`, which is fast in a compiled loop."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge, Lt

from tfrun import register
from tfrun.components.layers.draws import next_state, uniform


@register.layer("dropout")
@keras.saving.register_keras_serializable("tfrun.layers")
class Dropout(keras.layers.Layer):
    """Dropout: y = x·m/(1 − rate) in training, with m 1 with probability 1 − rate and otherwise 0; y = x outside of
    training.

    This is Keras' Dropout with another random number generator (`draws.py`): TensorFlow's default is ten times slower
    in an XLA loop on a CPU, and draws other masks there than in Python. The generator's state is a variable of the
    layer, so a resumed run draws the same masks. x may have any shape.

    Source: Srivastava et al., "Dropout", 2014.

    Args:
        rate: the share of values that are set to 0.
        seed: the seed of the generator; None draws it from Keras' global seed.
    """

    def __init__(self, rate: Annotated[float, Ge(0), Lt(1)], seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed = seed
        self.supports_masking = True

    def build(self, input_shape: Any = None) -> None:
        # Built here and with a name, so that the state's path is the layer's and doesn't count earlier generators.
        self.seed_generator = keras.random.SeedGenerator(self.seed, name="seed_generator")

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self.rate == 0:
            return inputs
        draws = uniform(tf.shape(inputs), next_state(self.seed_generator))
        kept = tf.cast(draws >= self.rate, inputs.dtype)
        return inputs * kept / (1.0 - self.rate)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
