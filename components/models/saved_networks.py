"""Networks that were saved: the model of a `.keras` file, and the function of a SavedModel."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfrun.components.layers.saved_function import SavedFunction
from tfrun.components.models.backbones import Backbone, check_images, cut, refuse_several, refuse_unknown
from tfrun.errors import ConfigError, unknown
from tfrun.protocols import FirstWeights

MAX_CONFIG_BYTES = 2**26
ENDPOINTS = ("serve", "serving_default")  # what Keras 3 calls a SavedModel's function, and what others do


def of_keras_file(config: Mapping[str, Any]) -> Backbone:
    """Returns the backbone of `{keras: FILE, …}`. Raises ConfigError."""
    refuse_unknown(config, ["keras", "cut"])
    path, layer = Path(str(config["keras"])).expanduser(), config.get("cut")
    if path.suffix != ".keras":
        raise ConfigError(f"model.backbone.keras: must be a .keras file; weights alone go to init. Received: {path}")

    def with_weights(shape: tuple[int, ...]) -> tuple[keras.Model, FirstWeights]:
        network = cut(_network_of_file(path, shape), layer)
        refuse_several(f"model.backbone.keras: {path}", network)
        return network, FirstWeights(
            network, source=str(path), unused=("",) if layer else (), key="model.backbone.keras"
        )

    return Backbone(with_weights, files=(path,))


def _network_of_file(path: Path, shape: tuple[int, ...]) -> keras.Model:
    """Returns the model of a `.keras` file, with fresh weights: no function or class of the file is executed.

    Raises:
        ConfigError: there is no such file, or its model needs other code or other images.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > MAX_CONFIG_BYTES:
                raise ConfigError(f"model.backbone.keras: {path} isn't a model: its config is too large")
            config = json.loads(archive.read("config.json"))
        config.pop("compile_config", None)
        network = keras.saving.deserialize_keras_object(config, safe_mode=True)
    except FileNotFoundError:
        raise ConfigError(
            f"model.backbone.keras: no such file. Received: {str(path)!r}, in {Path.cwd()}. A run needs it later too"
        ) from None
    except Exception as error:  # whatever a damaged archive or an unknown class raises
        if isinstance(error, ConfigError):
            raise
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"model.backbone.keras: {path} can't be used as a model: {reason}") from error
    if not isinstance(network, keras.Model) or not network.built:
        raise ConfigError(f"model.backbone.keras: {path} holds no model with a known input")
    if len(network.inputs) != 1:
        raise ConfigError(f"model.backbone.keras: {path} has {len(network.inputs)} inputs, and images are one")
    check_images(f"model.backbone.keras: {path}", network.input_shape[1:], shape)
    return network


def of_saved_model(config: Mapping[str, Any]) -> Backbone:
    """Returns the backbone of `{saved_model: FOLDER, …}`, which holds its weights. Raises ConfigError."""
    refuse_unknown(config, ["saved_model", "endpoint", "output"])
    path = Path(str(config["saved_model"])).expanduser()
    if not (path / "saved_model.pb").is_file():
        raise ConfigError(f"model.backbone.saved_model: no SavedModel's folder. Received: {str(path)!r}")
    return Backbone(lambda shape: (_function_of_folder(path, shape, config), None), files=(path / "saved_model.pb",))


def _function_of_folder(path: Path, shape: tuple[int, ...], config: Mapping[str, Any]) -> keras.layers.Layer:
    """Returns a SavedModel's function as a layer.

    Raises:
        ConfigError: it has no such function or output, or the function takes no images of this shape.
    """
    where = "model.backbone.saved_model"
    try:
        function = _function(path, config.get("endpoint"), output=config.get("output"))
        function.call(tf.zeros((1, *shape)))  # directly, since Keras' own errors hide the reason
        vectors = function(keras.KerasTensor((None, *shape)))
    except ConfigError:
        raise
    except Exception as error:  # whatever TensorFlow raises for a damaged file or for other inputs
        reason = " ".join(str(error).split())[:150]
        raise ConfigError(
            f"{where}: {path} can't be applied to images {shape}; model.size resizes: {reason}"
        ) from error
    if len(vectors.shape) < 2 or None in vectors.shape[1:] or "float" not in vectors.dtype:
        raise ConfigError(f"{where}: {path} gives no vectors of floats. Received: {vectors.shape}, {vectors.dtype}")
    return function


def _function(path: Path, endpoint: str | None, *, output: str | None) -> SavedFunction:
    """Returns the function of this name; without a name, the first one of `ENDPOINTS` that there is.

    Raises:
        ConfigError: there is none.
    """
    names = ENDPOINTS if endpoint is None else (endpoint,)
    for name in names:
        try:
            return SavedFunction(str(path), name, output=output, name="backbone")
        except ValueError as error:
            if "endpoint" not in str(error):
                raise
    known = tf.saved_model.load(str(path)).signatures
    raise unknown("model.backbone.endpoint", "function", name=" or ".join(names), known=known)
