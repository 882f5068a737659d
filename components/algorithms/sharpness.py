"""Defines `sam`, sharpness-aware minimization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Gt

from tfrun import register
from tfrun.components.algorithms.supervised import Supervised
from tfrun.errors import ConfigError


@register.algorithm("sam")
class Sam(Supervised):
    """Updates w with the gradient of L at w + ρ·g/‖g‖₂, where g is the gradient at w.

    This prefers weights in whose neighbourhood the loss is low. A step takes two passes. The loss at w is reported, and
    ‖g‖ is the norm over all trained variables.

    Source: Foret et al., "Sharpness-aware minimization for efficiently improving generalization", 2020,
    arXiv:2010.01412, algorithm 1.

    Args:
        rho: ρ, the radius of the neighbourhood.

    Raises:
        ConfigError: the run uses several replicas.
    """

    def __init__(self, rho: Annotated[float, Gt(0)] = 0.05):
        self.rho = rho

    def gradients(
        self, differentiate: Callable[[], tuple[Any, ...]], variables: Sequence[keras.Variable]
    ) -> tuple[Any, ...]:
        """Returns the loss and y_pred at the weights, and the gradients at the neighbouring weights."""
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise ConfigError("algorithm=sam: is for one device. Received: several replicas")
        loss, y_pred, gradients = differentiate()
        before = [tf.identity(variable.value) for variable in variables]  # kept, since w + ε − ε isn't exactly w
        scale = self.rho / tf.maximum(tf.linalg.global_norm(gradients), 1e-12)
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.assign_add(tf.cast(scale, gradient.dtype) * gradient)
        _, _, gradients = differentiate()
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        return loss, y_pred, gradients
