"""Where AutoGraph converts functions."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrun.engine.building.autograph import convert_layers, convertible


def sign(x: tf.Tensor) -> tf.Tensor:
    if x > 0:  # needs AutoGraph in a graph
        return tf.constant(1.0)
    return tf.constant(-1.0)


def test_a_function_may_branch_on_a_tensor() -> None:
    converted = convertible(sign)
    assert float(converted(tf.constant(3.0))) == 1.0
    graph = tf.function(converted, autograph=False)
    assert [float(graph(tf.constant(x))) for x in (2.0, -2.0)] == [1.0, -1.0]
    assert converted.__name__ == "sign"


def test_functions_of_keras_are_not_converted() -> None:
    assert convertible(keras.ops.relu) is keras.ops.relu
    method = keras.layers.Dense(1).call
    assert convertible(method) == method


def test_layers_may_branch_on_a_tensor() -> None:
    class Switch(keras.layers.Layer):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            if tf.reduce_sum(x) > 0:
                return x
            return -2.0 * x

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.switch = Switch()

        def call(self, x: tf.Tensor) -> tf.Tensor:
            return self.switch(x)

    model = Model()
    model(tf.ones([1, 1]))
    convert_layers(model)
    graph = tf.function(lambda x: model(x), autograph=False)
    assert [float(graph(tf.constant([[x]]))[0, 0]) for x in (3.0, -3.0)] == [3.0, 6.0]
