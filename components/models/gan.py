"""Defines `gan`, a generator and a critic."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import keras
import tensorflow as tf
from annotated_types import Gt

from tfrun import Activation, register
from tfrun.components.layers.draws import next_state, normal, uniform
from tfrun.components.models.initial import initializer_for
from tfrun.components.models.inputs import describe
from tfrun.components.models.subclassed import SavedWithArguments
from tfrun.data.table import Features
from tfrun.errors import ConfigError

EVALUATION_STATE = (7, 7)  # every validation draws the same z


@register.model("gan")
@keras.saving.register_keras_serializable("tfrun.models")
class GanModel(SavedWithArguments):
    """Generator and critic of a GAN: calling the model returns the critic's scores D(x), (B, 1).

    Both are stacks of dense layers. The generator turns normally distributed z, (B, latent_dim), into examples G(z).
    The data must be number columns or a single array. It is meant for algorithm=gan.

    Source: Goodfellow et al., "Generative adversarial nets", 2014, arXiv:1406.2661; Géron, chapter 17.

    Args:
        features: describes the inputs; set by the engine.
        latent_dim: the length of z.
        generator_units: the width of each of the generator's hidden layers.
        critic_units: the width of each of the critic's hidden layers.
        activation: the hidden layers' activation.
        output_activation: the activation of the generator's output: sigmoid for images with values from 0 to 1, linear
            for other numbers.

    Raises:
        ConfigError: the data has text columns, or more than one kind of inputs.
    """

    optimizer_groups: ClassVar[dict[str, dict[str, Any]]] = {
        "critic": {"match": "^critic/", "name": "adam", "learning_rate": 0.0005},
        "generator": {"match": "^generator/", "name": "adam", "learning_rate": 0.0005},
    }

    def __init__(
        self,
        features: Features,
        latent_dim: Annotated[int, Gt(0)] = 16,
        generator_units: list[Annotated[int, Gt(0)]] = [64, 64],  # noqa: B006 (the catalog reads literal defaults; never changed)
        critic_units: list[Annotated[int, Gt(0)]] = [64, 64],  # noqa: B006
        activation: Activation = "leaky_relu",
        output_activation: Activation = "linear",
        name: str = "gan",
        dtype: Any = None,
    ):
        if features.categories or features.tokens or len(features.arrays) + bool(features.numbers) != 1:
            raise ConfigError(f"model=gan: takes number columns or a single array. Received: {describe(features)}")
        super().__init__(name=name, dtype=dtype)
        function = keras.activations.get(activation)
        output_function = keras.activations.get(output_activation)
        self.arguments = {
            "features": features.to_config(),
            "latent_dim": latent_dim,
            "generator_units": list(generator_units),
            "critic_units": list(critic_units),
            "activation": keras.activations.serialize(function),
            "output_activation": keras.activations.serialize(output_function),
        }
        self.is_table = bool(features.numbers)
        self.example_shape = (len(features.numbers),) if self.is_table else next(iter(features.arrays.values()))
        self.latent_dim = latent_dim
        size = math.prod(self.example_shape)
        policy = self.dtype_policy
        self.generator = Stack(generator_units, function, size, output_function, name="generator", dtype=policy)
        self.generator.build((None, latent_dim))
        self.critic = Stack(critic_units, function, 1, None, name="critic", dtype=policy)
        self.critic.build((None, size))
        self.noise = keras.random.SeedGenerator(name="noise")

    def build(self, input_shape: Any = None) -> None:
        self.built = True  # both parts are built in the constructor

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        x = self.values(inputs)
        return self.critic(tf.reshape(x, [tf.shape(x)[0], math.prod(self.example_shape)]))

    def values(self, inputs: Any) -> tf.Tensor:
        """Returns the examples as one tensor, (B, …): a table's numbers, or the array."""
        return inputs["numbers"] if isinstance(inputs, dict) else inputs

    def generate(self, count: Any, training: bool = False) -> tf.Tensor:
        """Returns generated examples, (count, …); in training each call draws another z."""
        z = normal([count, self.latent_dim], next_state(self.noise) if training else EVALUATION_STATE)
        return tf.reshape(self.generator(z), [count, *self.example_shape])

    def draw_shares(self, x: tf.Tensor) -> tf.Tensor:
        """Draws a number from 0 to 1 for each example, (B, 1, …) with x's rank."""
        shape = [tf.shape(x)[0], *[1] * (x.shape.rank - 1)]
        return uniform(shape, next_state(self.noise), x.dtype)


class Stack(keras.layers.Layer):
    """Applies dense hidden layers and a dense output layer: (B, inputs) to (B, num_outputs)."""

    def __init__(self, units: list[int], activation: Any, num_outputs: int, output_activation: Any, **kwargs: Any):
        super().__init__(**kwargs)
        options = {"kernel_initializer": initializer_for(activation), "dtype": self.dtype_policy}
        self.hidden = [
            keras.layers.Dense(width, activation, name=f"hidden_{k}", **options)
            for k, width in enumerate(units, start=1)
        ]
        self.last = keras.layers.Dense(num_outputs, output_activation, dtype=self.variable_dtype, name="output")

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        for layer in [*self.hidden, self.last]:
            layer.build((None, width))
            width = layer.units

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        x = inputs
        for layer in self.hidden:
            x = layer(x)
        return self.last(x)
