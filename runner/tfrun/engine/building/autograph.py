"""Restricts AutoGraph to the code that may need it: people's own components.

By default AutoGraph converts every function that is called in a traced one. Converting Keras and the components that
come with tfrun, which don't need it, took several seconds before the first step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfrun.engine import private


def convertible(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function whose `if` and `for` may depend on tensors while it is traced; eagerly it is unchanged."""
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
        private.replace_method(layer, "call", method=convertible(layer.call))
