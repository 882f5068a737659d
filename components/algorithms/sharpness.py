"""Sharpness-aware minimization."""

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
    """Supervised learning with the gradient of L at w + ρ·g/‖g‖₂ instead of w, g being that at w.

    It looks for weights in whose neighbourhood the loss is low. A step takes two passes; the loss reported is that at
    w, and ‖g‖ is taken over all trained variables.

    Source: Foret et al., "Sharpness-aware minimization for efficiently improving generalization", 2020,
    arXiv:2010.01412, algorithm 1.

    Args:
        rho: ρ, how far the neighbourhood reaches.
    """

    def __init__(self, rho: Annotated[float, Gt(0)] = 0.05):
        self.rho = rho

    def gradients(
        self, differentiate: Callable[[], tuple[Any, ...]], variables: Sequence[keras.Variable]
    ) -> tuple[Any, ...]:
        """Returns the loss and y_pred at the weights, and the gradients of the neighbour."""
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise ConfigError("algorithm=sam: is for one device. Received: several replicas")
        loss, y_pred, gradients = differentiate()
        before = [tf.identity(variable.value) for variable in variables]  # w + ε − ε isn't w
        scale = self.rho / tf.maximum(tf.linalg.global_norm(gradients), 1e-12)
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.assign_add(tf.cast(scale, gradient.dtype) * gradient)
        _, _, gradients = differentiate()
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        return loss, y_pred, gradients
