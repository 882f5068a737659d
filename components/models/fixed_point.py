"""A model with a loop whose length depends on the data."""

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
    """z ← tanh(W·z + U·x + b) from z = 0 until no value moves by more than `tolerance`; the output is linear in z.

    One layer, as deep as each example needs: the loop goes on while an example still moves, at most `max_iterations`
    times, and leaves those alone that don't. Gradients go through all that was run. For what an mlp takes.

    Source: Bai et al., "Deep equilibrium models", 2019, arXiv:1909.01377, unrolled; dynamic loops are Géron, chapter
    12, "TF functions and graphs".

    Args:
        features: what the inputs are; the engine gives it.
        num_outputs: how many outputs to give; the engine gives it.
        units: the length of z.
        tolerance: the largest movement that counts as none.
        max_iterations: the most times z is worked out.
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
        self.units, self.tolerance, self.max_iterations = units, tolerance, max_iterations
        self.drive = keras.layers.Dense(units, dtype=self.dtype_policy, name="drive")
        # orthogonal and less than 1, so that z comes to rest
        start = keras.initializers.Orthogonal(gain=0.5)
        self.feed_back = keras.layers.Dense(
            units, use_bias=False, kernel_initializer=start, dtype=self.dtype_policy, name="feed_back"
        )

    def call(self, inputs: Any) -> tf.Tensor:
        driven = self.drive(self.encode(inputs))
        start = tf.tanh(driven)
        if not self.feed_back.built:
            self.feed_back(start)  # its weight must not be made inside the loop

        def step(z: tf.Tensor, moves: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            new = tf.where(moves, tf.tanh(self.feed_back(z) + driven), z)
            return new, moves & (tf.reduce_max(tf.abs(new - z), axis=1, keepdims=True) > self.tolerance)

        moves = tf.ones_like(start[:, :1], tf.bool)
        z, _ = tf.while_loop(
            lambda z, moves: tf.reduce_any(moves), step, (start, moves), maximum_iterations=self.max_iterations - 1
        )
        return self.output_layer(z)
