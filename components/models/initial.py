"""Chooses the initializer that suits an activation."""

from __future__ import annotations

from typing import Any

from tfrun.protocols import ActivationOffer

RECTIFIERS = ("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "swish", "mish", "softplus")


def initializer_for(activation: Any, given: Any = None) -> Any:
    """Returns `given`, or if it is None He's initializer for rectifiers, LeCun's for selu and Glorot's for all others.

    Source: Géron, chapter 11, table 11-1.

    Args:
        activation: the name of a Keras activation, or an activation, whose attribute `initializer` wins.
        given: the initializer that the config names, or None.
    """
    if given is not None:
        return given
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", "")
    if name == "selu":
        return "lecun_normal"
    fallback = "he_normal" if name in RECTIFIERS else "glorot_uniform"
    return ActivationOffer.of(activation).initializer or fallback
