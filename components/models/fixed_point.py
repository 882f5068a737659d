"""Defines `fixed_point`, a model with a loop whose length depends on the data."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Gt, Le

from tfrun import register
from tfrun.components.models.subclassed import Subclassed
from tfrun.data.table import Features


@register.model("fixed_point")
@keras.saving.register_keras_serializable("tfrun.models")
class FixedPoint(Subclassed):
    """Deep equilibrium network: z ← tanh(W·z + U·x + b) from z = 0 until no value changes by more than `tolerance`; the
    output is linear in z.

    One layer is thus as deep as each example needs: the loop runs while any example's z changes, at most
    `max_iterations` times, and keeps the z of the examples that have converged. Gradients flow through all iterations.
    It takes the same inputs as `mlp`.

    Source: Bai et al., "Deep equilibrium models", 2019, arXiv:1909.01377, unrolled; for loops in graphs Géron,
    chapter 12, "TF functions and graphs".

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs; set by the engine.
        units: the length of z.
        tolerance: the largest change of a value that counts as none.
        max_iterations: the largest number of times that z is computed.
    """

    def __init__(
        self,
        features: Features,
        num_outputs: int,
        units: Annotated[int, Gt(0)] = 30,
        tolerance: Annotated[float, Gt(0)] = 1e-3,
        max_iterations: Annotated[int, Gt(0), Le(1000)] = 30,
        name: str = "fixed_point",
        dtype: Any = None,
    ):
        arguments = {"units": units, "tolerance": tolerance, "max_iterations": max_iterations}
        super().__init__(features, num_outputs, name, dtype, **arguments)
        self.units = units
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self.drive = keras.layers.Dense(units, dtype=self.dtype_policy, name="drive")
        # orthogonal with a gain below 1, so that z converges
        initializer = keras.initializers.Orthogonal(gain=0.5)
        self.feed_back = keras.layers.Dense(
            units, use_bias=False, kernel_initializer=initializer, dtype=self.dtype_policy, name="feed_back"
        )

    def call(self, inputs: Any) -> tf.Tensor:
        drive = self.drive(self.encode(inputs))  # U·x + b
        first_z = tf.tanh(drive)
        if not self.feed_back.built:
            self.feed_back(first_z)  # creates its weight, which must not happen inside the loop

        def step(z: tf.Tensor, changes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            next_z = tf.where(changes, tf.tanh(self.feed_back(z) + drive), z)
            return next_z, changes & (tf.reduce_max(tf.abs(next_z - z), axis=1, keepdims=True) > self.tolerance)

        changes = tf.ones_like(first_z[:, :1], tf.bool)  # whether each example's z still changes, (B, 1)
        z, _ = tf.while_loop(
            lambda z, changes: tf.reduce_any(changes),
            step,
            (first_z, changes),
            maximum_iterations=self.max_iterations - 1,
        )
        return self.output_layer(z)
