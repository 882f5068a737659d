"""Where AutoGraph works: on the engine's loops and on people's own components, and nowhere else.

AutoGraph follows every call by default. Converting Keras and the components that come with tfrun, which need none of
it, took several seconds before the first step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfrun.engine import private


def convertible(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function in which `if` and `for` may depend on tensors; eagerly it is the very same function."""
    module = getattr(function, "__module__", None) or type(function).__module__
    if module.partition(".")[0] in ("keras", "tfrun"):
        return function
    converted = private.convert_to_autograph(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (converted if tf.inside_function() else function)(*args, **kwargs)

    return call


def convert_layers(model: keras.Model) -> None:
    """Makes `call` of the model and of each of its layers convertible."""
    for layer in private.layers_of(model):
        private.replace_method(layer, "call", convertible(layer.call))
