"""Defines `pretrained`: a network that was trained before, with a head for the data's targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import keras
from annotated_types import Gt

from tfrun import Layer, register
from tfrun.components.layers.pixels import PixelScaling
from tfrun.components.models.applications import of_application
from tfrun.components.models.backbones import Backbone, Vectors
from tfrun.components.models.inputs import describe, image_shape, output_dtype, symbolic_images
from tfrun.components.models.presets import of_preset, text_vectors
from tfrun.components.models.saved_networks import of_keras_file, of_saved_model
from tfrun.data.table import Features
from tfrun.errors import ConfigError

KINDS: dict[str, Callable[[Mapping[str, Any]], Backbone]] = {
    "application": of_application,
    "preset": of_preset,
    "keras": of_keras_file,
    "saved_model": of_saved_model,
}
IMAGE_POOLING: dict[str, tuple[type[keras.layers.Layer], ...]] = {  # of vectors (B, T, C), and of (B, H, W, C)
    "average": (keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D),
    "max": (keras.layers.GlobalMaxPooling1D, keras.layers.GlobalMaxPooling2D),
    "flatten": (keras.layers.Flatten, keras.layers.Flatten),
}


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
    backbone: dict[str, Any] = {},  # noqa: B006 (a literal default; never changed)
    head: list[Layer] = [],  # noqa: B006
    pooling: Literal["average", "max", "flatten", "first", "last"] = "average",
    size: list[Annotated[int, Gt(0)]] | None = None,
    white: Annotated[float, Gt(0)] = 1.0,
) -> keras.Model:
    """A network that was trained before, the backbone, with layers of its own for images or texts, the head.

    The backbone's group is frozen: only the head is trained, and the backbone runs as in inference. With
    optimizer.groups.backbone.frozen=false it is trained too, with a tenth of the head's rate; experiment=fine_tune
    does the one after the other. A layer scales the pixels as the backbone needs it, so that exports take the same
    images. Images of one channel get three. Texts are a column of tokens, from the tokenizer of the same preset.

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs; set by the engine.
        backbone: `application`, a network of keras.applications, `mobilenet_v2` by default, with its own arguments,
            such as `alpha`, and `weights`: a file of them (*.weights.h5, *.h5, *.keras), `imagenet`, the default, which
            are downloaded once, or null for fresh ones. Or `preset`, a network of KerasHub, for images or texts: a
            folder that KerasHub, Hugging Face's transformers or timm has saved, or a name. Or `keras`, a .keras file
            with a model and its weights, or `saved_model`, a SavedModel's folder; both get the images as they are.
            `cut` names the layer whose output is used, if not the last one.
        head: layers between the pooled output of the backbone and the output layer.
        pooling: how the backbone's output becomes one vector for each example; of texts, padding doesn't count, and
            `first` and `last` are the vectors of the first and of the last token.
        size: the height and width to which images are resized; null leaves them as they are.
        white: the value of white in the images: 1 with the kind `image`, 255 for pixels as they are in files.

    Raises:
        ConfigError: the data isn't one array of images or one column of tokens, or the network can't be made so.
    """
    if features.tokens:
        below = text_vectors(backbone, features, pooling=pooling)
    else:
        below = _image_vectors(backbone, features, pooling=pooling, size=size, white=white)
    output = keras.layers.Dense(num_outputs, dtype=output_dtype(), name="output")
    above = keras.Sequential([keras.Input(below.vectors.shape[1:]), *head, output], name="head")
    model = keras.Model(below.inputs, above(below.vectors), name="pretrained")
    model.first_weights = below.first_weights
    model.architecture_files = tuple(str(file.absolute()) for file in below.files)
    return model


def _image_vectors(
    config: Mapping[str, Any], features: Features, *, pooling: str, size: Sequence[int] | None, white: float
) -> Vectors:
    """Returns a vector for each image."""
    if image_shape("pretrained", features)[2:] not in ((), (1,), (3,)):
        raise ConfigError(f"model=pretrained: needs images of 1 or 3 channels. Received: {describe(features)}")
    if size is not None and len(size) != 2:
        raise ConfigError(f"model.size: must be a height and a width. Received: {size}")
    if pooling not in IMAGE_POOLING:
        raise ConfigError(f"model.pooling: for images, must be one of {', '.join(IMAGE_POOLING)}. Received: {pooling}")
    chosen = _chosen(config)
    inputs, x = symbolic_images("pretrained", features)
    if size is not None:
        x = keras.layers.Resizing(*size, name="resize")(x)
    if chosen.preprocess is not None:
        x = PixelScaling.like(chosen.preprocess, white=white, name="scale")(x)
    network, first_weights = chosen.make(tuple(x.shape[1:]))
    x = network(x)
    if len(x.shape) > 2:
        x = IMAGE_POOLING[pooling][len(x.shape) - 3](name="pooling")(x)
    return Vectors(inputs, x, first_weights, chosen.files)


def _chosen(config: Mapping[str, Any]) -> Backbone:
    """Returns the backbone that `model.backbone` describes. Raises ConfigError."""
    chosen = [kind for kind in KINDS if kind in config]
    if len(chosen) > 1:
        raise ConfigError(f"model.backbone: takes one of {', '.join(KINDS)}. Received: {dict(config)}")
    return KINDS[chosen[0]](config) if chosen else of_application({"application": "mobilenet_v2", **config})
