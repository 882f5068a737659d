"""Hidden layers' activations by name, and the initializer that suits each."""

from __future__ import annotations

from typing import Any

import keras

from tfrun.errors import unknown
from tfrun.registry import lookup

RECTIFIERS = ("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "swish", "mish")


def activation_named(name: str) -> Any:
    """Returns a registered activation or Keras' own. Raises ConfigError for any other name."""
    try:
        return lookup("activation", name)
    except KeyError:
        pass
    try:
        return keras.activations.get(name)
    except ValueError:
        helpers = {"get", "serialize", "deserialize"}
        known = [one for one in dir(keras.activations) if not one.startswith("_") and one not in helpers]
        raise unknown("model.activation", "activation", name, known) from None


def initializer_for(activation: str) -> str:
    """Returns He's initializer for rectifiers, LeCun's for selu and Glorot's for all others (Géron, chapter 11)."""
    if activation == "selu":
        return "lecun_normal"
    return "he_normal" if activation in RECTIFIERS else "glorot_uniform"
