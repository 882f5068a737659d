"""A loss, a metric, a model and an optimizer."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Gt

from tfrun import register


@register.loss("example_asymmetric")
@keras.saving.register_keras_serializable("tfrun_example")
class ExampleAsymmetric(keras.losses.Loss):
    """L(e) = e² where e ≥ 0, under·e² where e < 0, with e = y_pred − y_true.

    Args:
        under: how much worse a prediction that is too low is.
    """

    task = "regression"

    def __init__(
        self,
        under: Annotated[float, Gt(0)] = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "example_asymmetric",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.under = under

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        error = y_pred - y_true
        return tf.reduce_mean(tf.where(error < 0, self.under, 1.0) * tf.square(error), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "under": self.under}


@register.metric("example_bias")
def example_bias(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """Mean of y_pred − y_true."""
    return tf.reduce_mean(y_pred - y_true, axis=-1)


@register.model("example_net")
class ExampleNet(keras.Model):
    """One hidden layer over the numbers; text columns are left out.

    Args:
        units: the width of the hidden layer.
    """

    def __init__(self, num_outputs: int, units: Annotated[int, Gt(0)] = 8):
        super().__init__()
        self.hidden = keras.layers.Dense(units, activation="relu")
        self.head = keras.layers.Dense(num_outputs)

    def call(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        return self.head(self.hidden(inputs["numbers"]))


@register.optimizer("example_sign")
@keras.saving.register_keras_serializable("tfrun_example")
class ExampleSign(keras.optimizers.Optimizer):
    """w ← w − lr·sign(g).

    Args:
        learning_rate: lr, the size of each weight's step.
    """

    def __init__(self, learning_rate: Annotated[float, Gt(0)] = 0.01, name: str = "example_sign", **kwargs: Any):
        super().__init__(learning_rate=float(learning_rate), name=name, **kwargs)

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: tf.Tensor) -> None:
        variable.assign_sub(tf.cast(learning_rate, variable.dtype) * tf.sign(gradient))
