"""The networks of KerasHub's presets: those for images, and those for texts with their tokenizers."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfrun.components.layers.preset_tokens import TokenInputs, TokenPooling
from tfrun.components.models.backbones import (
    Backbone,
    Vectors,
    check_images,
    cut,
    refuse_several,
    refuse_unknown,
)
from tfrun.components.models.inputs import symbolic_inputs
from tfrun.data.table import Features
from tfrun.errors import ConfigError
from tfrun.files.presets import Preset
from tfrun.protocols import FirstWeights

WHERE = "model.backbone.preset"
TOKEN_INPUTS = {"token_ids", "padding_mask", "segment_ids"}


def of_preset(config: Mapping[str, Any]) -> Backbone:
    """Returns the backbone of `{preset: FOLDER, …}` for images. Raises ConfigError, ResourceError."""
    preset = Preset.of(str(config["preset"]), where=WHERE)
    converter = preset.image_converter()

    def with_weights(shape: tuple[int, ...]) -> tuple[keras.Model, FirstWeights]:
        network, first_weights = _network(preset, config)
        if isinstance(network.input, dict) or len(network.input.shape) != 4:
            raise ConfigError(f"{WHERE}: {preset.handle} takes no images. Received: {shape}")
        check_images(f"{WHERE}: {preset.handle}", network.input.shape[1:], shape)
        part = cut(network, config.get("cut"))
        refuse_several(f"{WHERE}: {preset.handle}", part)
        return part, first_weights

    preprocess = None if converter is None else functools.partial(_scaled, converter.scale, converter.offset)
    if preprocess is not None and not np.isfinite(preprocess(np.ones(3))).all():
        raise ConfigError(f"{WHERE}: {preset.handle} scales images by numbers that aren't finite")
    return Backbone(with_weights, preprocess, preset.files)


def _scaled(scale: Any, offset: Any, pixels: np.ndarray) -> np.ndarray:
    """Returns pixels as an `ImageConverter` scales them."""
    return pixels * np.asarray(1.0 if scale is None else scale) + np.asarray(0.0 if offset is None else offset)


def text_vectors(config: Mapping[str, Any], features: Features, *, pooling: str) -> Vectors:
    """Returns a vector for each text, made by a preset's network.

    Args:
        config: `model.backbone`.
        features: describes the inputs: one column of tokens.
        pooling: how the vectors of a text's tokens become one, see `TokenPooling`, or `flatten`.

    Raises:
        ConfigError: there is no such preset, it is no network of texts, or the ids aren't those of its tokenizer.
        ResourceError: it can't be downloaded.
    """
    columns = [*features.tokens, *features.categories, *features.numbers]
    if "preset" not in config or len(columns) != 1:
        raise ConfigError(
            "model=pretrained: needs images, or one text column with a tokenizer and model.backbone={preset: …}; leave "
            f"others out with data.exclude. Received: columns {', '.join(columns)}; model.backbone={dict(config)}"
        )
    preset = Preset.of(str(config["preset"]), where=WHERE)
    ((name, (num_ids, _)),) = features.tokens.items()
    tokenizer = preset.tokenizer()
    if num_ids != tokenizer.vocabulary_size() + 1:
        raise ConfigError(
            f"model=pretrained: the ids of column {name!r} aren't those of the preset's tokenizer. Set "
            f"data.text={{{name}: {{name: tokens, tokenizer: {config['preset']}}}}}. "
            f"Received: {num_ids - 1:,} tokens, and {tokenizer.vocabulary_size():,} of the preset's"
        )
    whole, first_weights = _network(preset, config)
    _check_texts(whole, preset, features, num_tokens=tokenizer.vocabulary_size())
    network = _with_token_vectors(cut(whole, config.get("cut")), config)
    inputs = symbolic_inputs("pretrained", features)
    tokens = TokenInputs(tokenizer.pad_token_id, "segment_ids" in whole.input, name="tokens")(inputs[name])
    vectors = network({key: tokens[key] for key in whole.input})
    if pooling == "flatten":
        vector = keras.layers.Reshape((math.prod(vectors.shape[1:]),), name="pooling")(vectors)
    else:
        vector = TokenPooling(pooling, name="pooling")(vectors, tokens["padding_mask"])  # type: ignore[arg-type]
    return Vectors(inputs, vector, first_weights, preset.files)


def _network(preset: Preset, config: Mapping[str, Any]) -> tuple[keras.Model, FirstWeights]:
    """Returns a preset's network with fresh weights, and those that it begins with.

    They are in a file of the preset, or KerasHub converts them for the same network.

    Raises:
        ConfigError: the preset can't be used, or its network has no such argument.
        ResourceError: it can't be downloaded.
    """
    options = {key: value for key, value in config.items() if key not in ("preset", "cut")}
    network = preset.backbone(has_weights=False, **options)
    refuse_unknown(config, ["preset", "cut", *inspect.signature(type(network)).parameters])
    if preset.weights is not None:
        return network, FirstWeights(network, source=str(preset.weights), key=WHERE)
    converted = functools.partial(preset.backbone, has_weights=True, **options)
    return network, FirstWeights(network, source=preset.handle, download=converted, key=WHERE)


def _with_token_vectors(network: keras.Model, config: Mapping[str, Any]) -> keras.Model:
    """Returns a network of texts whose only output are the vectors of the tokens, (B, T, C).

    Raises:
        ConfigError: it was cut at a layer that makes others.
    """
    output = network.output["sequence_output"] if isinstance(network.output, dict) else network.output
    if len(output.shape) != 3:
        raise ConfigError(
            f"model.backbone.cut: must be a layer with a vector for each token. Received: {config['cut']}"
        )
    return keras.Model(network.input, output, name="backbone")


def _check_texts(network: keras.Model, preset: Preset, features: Features, *, num_tokens: int) -> None:
    """Raises ConfigError unless a network takes the tokens of one text, so many, and all that the tokenizer has."""
    ((name, (_, length)),) = features.tokens.items()
    inputs = network.input
    if not isinstance(inputs, dict) or not set(inputs) <= TOKEN_INPUTS or "token_ids" not in inputs:
        names = ", ".join(inputs) if isinstance(inputs, dict) else "an array"
        raise ConfigError(f"{WHERE}: {preset.handle} doesn't take the tokens of one text. It takes: {names}")
    longest = getattr(network, "max_sequence_length", None)
    if longest is not None and length > longest:
        raise ConfigError(
            f"{WHERE}: {preset.handle} takes {longest:,} tokens. Received: {length:,}. "
            f"Set data.text.{name}.length={longest}"
        )
    if num_tokens > network.vocabulary_size:
        raise ConfigError(
            f"{WHERE}: the tokenizer of {preset.handle} has {num_tokens:,} tokens, and its network "
            f"{network.vocabulary_size:,}"
        )
