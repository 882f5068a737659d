"""Defines `pretrained`: a network of `keras.applications` with a head for the data's targets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import keras
from annotated_types import Gt

from tfrun import Layer, register
from tfrun.components.layers.pixels import PixelScaling
from tfrun.components.models.backbones import Backbone
from tfrun.components.models.inputs import describe, image_shape, output_dtype, symbolic_images
from tfrun.data.table import Features
from tfrun.errors import ConfigError


@register.model(
    "pretrained",
    optimizer_groups={
        "backbone": {"match": "^(?!head/)", "name": "adam", "learning_rate": 0.0001, "frozen": True},
        "head": {"match": "^head/", "name": "adam", "learning_rate": 0.001},
    },
)
def pretrained(
    features: Features,
    num_outputs: int,
    backbone: dict[str, Any] = {"application": "mobilenet_v2"},  # noqa: B006 (a literal default; never changed)
    head: list[Layer] = [],  # noqa: B006
    pooling: Literal["average", "max", "flatten"] = "average",
    size: list[Annotated[int, Gt(0)]] | None = None,
    white: Annotated[float, Gt(0)] = 1.0,
) -> keras.Model:
    """Applies a network that was trained before, the backbone, to images, then layers of its own, the head.

    The backbone's group is frozen: only the head is trained, and the backbone runs as in inference. With
    optimizer.groups.backbone.frozen=false it is trained too, with a tenth of the head's rate; experiment=fine_tune
    does the one after the other. A layer scales the pixels as the backbone needs it, so that exports take the same
    images. Images of one channel get three.

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs; set by the engine.
        backbone: `application`, a network of keras.applications, `mobilenet_v2` for example, with its own arguments,
            such as `alpha`, and `weights`: a file of them (*.weights.h5, *.h5, *.keras), `imagenet`, the default, which
            are downloaded once, or null for fresh ones. Or `keras`, a .keras file with a model and its weights, which
            gets the images as they are. `cut` names the layer whose output is used, if not the last one.
        head: layers between the pooled output of the backbone and the output layer.
        pooling: how the backbone's output becomes one vector for each image.
        size: the height and width to which images are resized; null leaves them as they are.
        white: the value of white in the images: 1 with the kind `image`, 255 for pixels as they are in files.

    Raises:
        ConfigError: the data isn't one array of images, or the network can't be made so.
    """
    if image_shape("pretrained", features)[2:] not in ((), (1,), (3,)):
        raise ConfigError(f"model=pretrained: needs images of 1 or 3 channels. Received: {describe(features)}")
    if size is not None and len(size) != 2:
        raise ConfigError(f"model.size: must be a height and a width. Received: {size}")
    chosen = Backbone.of(backbone)
    inputs, x = symbolic_images("pretrained", features)
    if size is not None:
        x = keras.layers.Resizing(*size, name="resize")(x)
    if chosen.preprocess is not None:
        x = PixelScaling.like(chosen.preprocess, white=white, name="scale")(x)
    network = chosen.make(tuple(x.shape[1:]))
    x = network(x)
    if len(x.shape) > 2:
        x = _pool(pooling)(x)
    output = keras.layers.Dense(num_outputs, dtype=output_dtype(), name="output")
    outputs = keras.Sequential([keras.Input(x.shape[1:]), *head, output], name="head")(x)
    model = keras.Model(inputs, outputs, name="pretrained")
    model.first_weights = chosen.weights(network)
    return model


def _pool(pooling: str) -> keras.layers.Layer:
    if pooling == "flatten":
        return keras.layers.Flatten(name="pooling")
    kind = keras.layers.GlobalAveragePooling2D if pooling == "average" else keras.layers.GlobalMaxPooling2D
    return kind(name="pooling")
