"""The unit of a target as an input of the program: metrics are computed in it, and each fold has another scale."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.data.targets import TargetScale
from tfrun.engine.training.hyperparameters import LearntInput


class TargetUnit:
    """A target's unit, which the program gets as an input; it does what `TargetScale` does with constants.

    Args:
        scale: how the target was scaled for training.

    Attributes:
        inputs: the numbers of the scale, by name; none if the target wasn't scaled.
        is_plain, needs_float64: as of `TargetScale`.
    """

    def __init__(self, scale: TargetScale):
        self.is_plain = scale.is_plain
        self.needs_float64 = scale.needs_float64
        self.inputs: dict[str, LearntInput] = {}
        if _is_scaled(scale):
            dtype = "float64" if scale.needs_float64 else keras.config.floatx()
            numbers = {"standard_deviation": scale.standard_deviation, "mean": scale.mean}
            rounded = {name: float(np.float32(number)) for name, number in numbers.items()}
            exact = numbers if scale.exact else rounded
            self.inputs = {name: LearntInput(number, dtype) for name, number in exact.items()}

    @staticmethod
    def structure_of(scale: TargetScale) -> list[bool]:
        """Returns what of a scale a program is traced for."""
        return [_is_scaled(scale), scale.needs_float64, scale.exact]

    def restore(self, values: Any) -> tf.Tensor:
        """Returns standardized targets or predictions in the target's own unit and in the type that they have."""
        if not self.inputs:
            return values
        deviation, mean = (number.read(values.dtype) for number in self.inputs.values())
        return values * deviation + mean


def _is_scaled(scale: TargetScale) -> bool:
    return (scale.mean, scale.standard_deviation) != (0.0, 1.0)
