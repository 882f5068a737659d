"""Defines `momentum`, written by hand as an example of a custom optimizer."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Lt

from tfrun import register


@register.optimizer("momentum")
@keras.saving.register_keras_serializable("tfrun.optimizers")
class Momentum(keras.optimizers.Optimizer):
    """Momentum: m ← momentum·m − lr·g; w ← w + m, the same as `sgd` with momentum.

    Keras manages the learning rate, the slot variables and the saved state; `update_step` updates one variable inside
    the compiled program.

    Source: Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; Géron, chapter 11,
    equation 11-4, and chapter 12, "Custom optimizers".

    Args:
        learning_rate: lr, the size of a step.
        momentum: the share of the last step that is kept.
    """

    def __init__(
        self,
        learning_rate: Annotated[float, Gt(0)] = 0.01,
        momentum: Annotated[float, Ge(0), Lt(1)] = 0.9,
        name: str = "momentum",
        **kwargs: Any,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        slot = self.momentums[self._get_variable_index(variable)]
        rate = tf.cast(learning_rate, variable.dtype)
        momentum = tf.cast(self.momentum, variable.dtype)
        slot.assign(momentum * slot - rate * tf.cast(gradient, variable.dtype))
        variable.assign_add(slot)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": float(self.momentum)}
