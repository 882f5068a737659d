"""Defines `cnn`, a small convolutional network for images."""

from __future__ import annotations

from typing import Annotated

import keras
from annotated_types import Ge, Gt, Lt

from tfrun import register
from tfrun.components.layers.dropout import Dropout
from tfrun.components.models.inputs import describe, image_shape, output_dtype, symbolic_images
from tfrun.data.table import Features
from tfrun.errors import ConfigError


@register.model("cnn")
def cnn(
    features: Features,
    num_outputs: int,
    filters: list[Annotated[int, Gt(0)]] = [32, 64],  # noqa: B006 (the catalog reads literal defaults; never changed)
    dense_units: Annotated[int, Gt(0)] = 64,
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
) -> keras.Model:
    """Convolutional network for images: applies 3 × 3 convolutions, each followed by 2 × 2 max-pooling, and a dense
    layer to images.

    The images are (H, W) or (H, W, C).

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs; set by the engine.
        filters: the number of filters of each convolution.
        dense_units: the width of the dense layer.
        dropout: the share of the dense layer's values dropped in training.

    Raises:
        ConfigError: the data isn't one array of images, or the images are too small for all the poolings.
    """
    shape = image_shape("cnn", features)
    smallest = 2 ** len(filters)
    if min(shape[:2]) < smallest:
        raise ConfigError(
            f"model.filters: {len(filters)} poolings need images of {smallest} × {smallest} or more. "
            f"Received: {describe(features)}"
        )
    inputs, x = symbolic_images("cnn", features)
    for k, count in enumerate(filters, start=1):
        x = keras.layers.Conv2D(
            count, 3, padding="same", activation="relu", kernel_initializer="he_normal", name=f"convolution_{k}"
        )(x)
        x = keras.layers.MaxPooling2D(name=f"pooling_{k}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(dense_units, activation="relu", kernel_initializer="he_normal", name="dense")(x)
    if dropout > 0:
        x = Dropout(dropout, name="dropout")(x)
    outputs = keras.layers.Dense(num_outputs, dtype=output_dtype(), name="output")(x)
    return keras.Model(inputs, outputs, name="cnn")
