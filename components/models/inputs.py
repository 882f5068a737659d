"""Helpers that the models share: symbolic inputs, checks of the features, and the dtype of outputs."""

from __future__ import annotations

import math
from typing import Any

import keras

from tfrun.data.table import Features
from tfrun.errors import ConfigError


def symbolic_inputs(model: str, features: Features) -> Any:
    """Returns Keras inputs: a dict for a table, a single input for an array.

    Raises:
        ConfigError: the features are neither a table's columns nor a single array.
    """
    check_features(model, features)
    if features.arrays:
        ((name, shape),) = features.arrays.items()
        return keras.Input(shape, name=name.replace("/", "_"))  # which a layer's name may not hold
    inputs = {}
    if features.numbers:
        inputs["numbers"] = keras.Input((len(features.numbers),), name="numbers")
    if features.categories:
        inputs["categories"] = keras.Input((len(features.categories),), dtype="int32", name="categories")
    for name, (_, length) in features.tokens.items():
        inputs[name] = keras.Input((length,), dtype="int32", name=f"tokens_{len(inputs)}")
    return inputs


def image_shape(model: str, features: Features) -> tuple[int, ...]:
    """Returns the shape of images, (H, W) or (H, W, C). Raises ConfigError if the data isn't one array of them."""
    shapes = list(features.arrays.values())
    if len(shapes) != 1 or len(shapes[0]) not in (2, 3) or features.has_columns:
        raise ConfigError(f"model={model}: needs images (H, W) or (H, W, C). Received: {describe(features)}")
    return shapes[0]


def symbolic_images(model: str, features: Features) -> tuple[Any, Any]:
    """Returns the Keras input of images, and the same as images with channels, (B, H, W, C)."""
    shape = image_shape(model, features)
    inputs = symbolic_inputs(model, features)
    return inputs, keras.layers.Reshape((*shape, 1), name="channel")(inputs) if len(shape) == 2 else inputs


def check_features(model: str, features: Features) -> None:
    """Raises ConfigError unless the features are a table's columns or a single array."""
    if len(features.arrays) + features.has_columns > 1:
        raise ConfigError(f"model={model}: takes a table's columns or a single array. Received: {describe(features)}")
    if not features.arrays and not features.has_columns:
        raise ConfigError(f"model={model}: the data has no columns except the target.")


def check_columns(model: str, features: Features) -> None:
    """Raises ConfigError unless the features are the columns of a table."""
    if features.arrays or not features.has_columns:
        raise ConfigError(
            f"model={model}: needs a table of columns. Received: {describe(features) or 'nothing'}. "
            "For arrays there are model=mlp and, for images, model=cnn"
        )


def num_values(features: Features) -> int:
    """Returns the length of an example as one vector, with one-hot categories and counted tokens."""
    columns = (
        len(features.numbers) + sum(features.categories.values()) + sum(size for size, _ in features.tokens.values())
    )
    return columns + sum(math.prod(shape) for shape in features.arrays.values())


def describe(features: Features) -> str:
    """Returns a text for messages, for example `3 number columns, 1 text column, array 'image' (28, 28)`."""
    parts = [
        f"{len(columns)} {kind} column{'s' if len(columns) > 1 else ''}"
        for kind, columns in (
            ("number", features.numbers),
            ("text", features.categories),
            ("token", features.tokens),
        )
        if columns
    ]
    return ", ".join(parts + [f"array {name!r} {shape}" for name, shape in features.arrays.items()])


def output_dtype() -> str:
    """Returns the dtype of variables, which outputs keep in mixed precision, as Keras recommends."""
    return keras.config.dtype_policy().variable_dtype
