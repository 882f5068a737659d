"""Defines `sequential`, a stack of layers that the config names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfrun import Layer, register
from tfrun.components.layers.bag import EmbeddingBag
from tfrun.components.layers.embedding import Embedding
from tfrun.components.layers.encode import DenseFeatures
from tfrun.components.models.inputs import describe, output_dtype, symbolic_inputs
from tfrun.data.table import Features
from tfrun.errors import ConfigError


@register.model("sequential")
def sequential(
    features: Features,
    num_outputs: int,
    layers: list[Layer] = [],  # noqa: B006 (the catalog reads literal defaults; never changed)
    flatten: bool = True,
    output_layers: list[Layer] = [],  # noqa: B006
) -> keras.Model:
    """A stack of layers: the named ones, then a dense output layer.

    For example layers=[{name: dense, units: 30, activation: softplus}, layer_normalization]; or, for an array of ids or
    a table whose only column has ids, flatten=false and layers=[{name: embedding, num_ids: 1000, dim: 8}].

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs; set by the engine.
        layers: names of layers, registered or those of Keras, or mappings with a name and parameters.
        flatten: whether the first layer gets one vector per example: a table's numbers and one-hot categories, or a
            flattened array. If false, it gets an array, or the only column of a table, as it is, and the last layer's
            result is flattened for the output layer.
        output_layers: layers that follow the output layer, for example [exponential].

    Raises:
        ConfigError: `flatten` is false and the table has other columns too, or a layer needs ids and there are none.
    """
    inputs = symbolic_inputs("sequential", features)
    has_ids = _check_layers_of_ids(features, layers, flatten)
    if flatten:
        x = DenseFeatures.of(features, name="features", dtype=output_dtype() if has_ids else None)(inputs)
    else:
        x = _only_input(inputs, features)
    for layer in layers:
        x = layer(x)
    if len(x.shape) > 2:
        x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(num_outputs, dtype=output_dtype(), name="output")(x)
    for layer in output_layers:
        x = layer(x)
    return keras.Model(inputs, x, name="sequential")


def _only_input(inputs: Any, features: Features) -> Any:
    """Returns the only input. Raises ConfigError if there are others, or several columns with the same ids."""
    if not isinstance(inputs, dict):
        return inputs
    if len(inputs) > 1 or len(features.categories) > 1:
        raise ConfigError(
            "model.flatten: false needs an array, a single column of texts, or columns of numbers alone. "
            f"Received: {describe(features)}. model=wide_deep has an embedding for each column"
        )
    return next(iter(inputs.values()))


def _check_layers_of_ids(features: Features, layers: Sequence[Any], flatten: bool) -> bool:
    """Returns whether the first layer needs ids. Raises ConfigError if it doesn't get them, or if another one does."""
    names = {Embedding: "embedding", EmbeddingBag: "embedding_bag"}
    places = [k for k, layer in enumerate(layers) if type(layer) in names]
    if not places:
        return False
    place = places[-1]
    name = names[type(layers[place])]
    if place > 0:
        raise ConfigError(
            f"model.layers.{place}: {name} needs ids, which the first layer gets alone. Received: layer {place} of "
            f"{len(layers)}, from 0 on"
        )
    if flatten and not features.arrays:
        raise ConfigError(
            f"model.layers.0: {name} needs ids, and model.flatten=true makes one vector of a table. Received: "
            f"{describe(features)}. A single column of texts is ids with model.flatten=false, and model=wide_deep has "
            "an embedding for each column"
        )
    tokens = {column: num_ids for column, (num_ids, _) in features.tokens.items()}
    for column, num_ids in {**features.categories, **tokens}.items():
        if layers[0].num_ids < num_ids:
            raise ConfigError(
                f"model.layers.0.num_ids: must be at least {num_ids}, the number of ids of the column {column!r}. "
                f"Received: {layers[0].num_ids}"
            )
    return True
