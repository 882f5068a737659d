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
    """Sharpness-aware minimization: updates w with the gradient of L at w + ρ·g/‖g‖₂, where g is the gradient at w.

    This prefers weights in whose neighbourhood the loss is low. A step takes two passes. The loss at w is reported, and
    ‖g‖ is the norm over all trained variables.

    Source: Foret et al., "Sharpness-aware minimization for efficiently improving generalization", 2020,
    arXiv:2010.01412, algorithm 1.

    Args:
        rho: ρ, the radius of the neighbourhood.

    Raises:
        ConfigError: the run uses several replicas.
    """

    takes_rows = True

    def __init__(self, rho: Annotated[float, Gt(0)] = 0.05):
        self.rho = rho

    def gradients(
        self, differentiate: Callable[[], tuple[Any, ...]], variables: Sequence[keras.Variable]
    ) -> tuple[Any, ...]:
        """Returns the loss and y_pred at the weights, and the gradients at the neighbouring weights."""
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise ConfigError("algorithm=sam: is for one device. Received: several replicas")
        loss, y_pred, gradients = differentiate()
        before = [_read(*pair) for pair in zip(variables, gradients, strict=True)]  # since w + ε − ε isn't exactly w
        scale = self.rho / tf.maximum(tf.linalg.global_norm(gradients), 1e-12)
        for variable, gradient in zip(variables, gradients, strict=True):
            _add(variable, gradient, scale)
        _, _, of_neighbour = differentiate()
        for variable, gradient, value in zip(variables, gradients, before, strict=True):
            _write(variable, gradient, value)
        return loss, y_pred, of_neighbour


def _read(variable: keras.Variable, gradient: Any) -> tf.Tensor:
    """Returns the values of a variable, or its rows that a gradient by rows has."""
    if isinstance(gradient, tf.IndexedSlices):
        return tf.gather(variable.value, gradient.indices)
    return tf.identity(variable.value)


def _add(variable: keras.Variable, gradient: Any, scale: tf.Tensor) -> None:
    scale = tf.cast(scale, gradient.dtype)
    if isinstance(gradient, tf.IndexedSlices):
        variable.value.scatter_add(tf.IndexedSlices(scale * gradient.values, gradient.indices))
    else:
        variable.assign_add(scale * gradient)


def _write(variable: keras.Variable, gradient: Any, value: tf.Tensor) -> None:
    if isinstance(gradient, tf.IndexedSlices):
        variable.value.scatter_update(tf.IndexedSlices(value, gradient.indices))
    else:
        variable.assign(value)
