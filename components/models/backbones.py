"""The networks that `pretrained` can be built around: those of keras.applications, and those of a `.keras` file."""

from __future__ import annotations

import functools
import inspect
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from tfrun.errors import ConfigError, unknown
from tfrun.protocols import FirstWeights

SET_HERE = (  # arguments of an application that `pretrained` sets
    "include_top", "weights", "input_tensor", "input_shape", "pooling", "classes", "classifier_activation", "name",
)  # fmt: skip
OF_THE_TOP = ("predictions", "^top_", "conv_preds", "[Ll]ogits", "(^|/)fc[12]/")  # layers that the backbone leaves out
DOWNLOADED = "imagenet"
MAX_CONFIG_BYTES = 2**26


@dataclass(frozen=True)
class Backbone:
    """A network to build a model around.

    Attributes:
        make: (shape of the images) → the network, with fresh weights.
        preprocess: scales pixels from 0 to 255 as the network needs them; None leaves them as they are.
        weights: (the network) → what it begins with, or None for fresh weights.
    """

    make: Callable[[tuple[int, ...]], keras.Model]
    preprocess: Callable[..., Any] | None
    weights: Callable[[keras.Model], FirstWeights | None]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Backbone:
        """Returns the backbone that `model.backbone` describes. Raises ConfigError."""
        kinds = {"application": _of_application, "keras": _of_file}
        chosen = [key for key in kinds if key in config]
        if len(chosen) != 1:
            raise ConfigError(
                f"model.backbone: needs one of application and keras, for example {{application: mobilenet_v2}}. "
                f"Received: {dict(config)}"
            )
        return kinds[chosen[0]](config)


def _of_application(config: Mapping[str, Any]) -> Backbone:
    make, module = _application(config)
    weights = config.get("weights", DOWNLOADED)

    def first_weights(network: keras.Model) -> FirstWeights | None:
        if weights is None:
            return None
        if weights == DOWNLOADED:
            download = functools.partial(_network, make, config, network.input_shape[1:], weights=DOWNLOADED)
            return FirstWeights(network, download=download)
        return FirstWeights(network, source=str(weights), unused=OF_THE_TOP)

    return Backbone(functools.partial(_network, make, config), module.preprocess_input, first_weights)


def _application(config: Mapping[str, Any]) -> tuple[Callable[..., keras.Model], ModuleType]:
    """Returns a network of keras.applications, and the module that has its preprocessing.

    Raises:
        ConfigError: there is none of this name, or it has no such argument.
    """
    items = vars(keras.applications)
    known = {_plain(name): name for name, item in items.items() if callable(item) and not inspect.ismodule(item)}
    given = config["application"]
    if _plain(str(given)) not in known:
        raise unknown("model.backbone.application", "network", name=str(given), known=sorted(known.values()))
    name = known[_plain(str(given))]
    make = items[name]
    arguments = [key for key in inspect.signature(make).parameters if key not in SET_HERE]
    _refuse_unknown(config, ["application", "weights", "cut", *arguments])
    modules = [item for item in items.values() if inspect.ismodule(item) and hasattr(item, "preprocess_input")]
    return make, next(module for module in modules if hasattr(module, name))


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _network(
    make: Callable[..., keras.Model], config: Mapping[str, Any], shape: tuple[int, ...], *, weights: str | None = None
) -> keras.Model:
    """Returns an application without its last layers. Raises ConfigError if Keras refuses its arguments."""
    arguments = {key: value for key, value in config.items() if key not in ("application", "weights", "cut")}
    try:
        network = make(include_top=False, weights=weights, input_shape=shape, name="backbone", **arguments)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"model.backbone: {reason}. Received: {dict(config)}, images {shape}") from error
    return _cut(network, config.get("cut"))


def _of_file(config: Mapping[str, Any]) -> Backbone:
    _refuse_unknown(config, ["keras", "cut"])
    path, cut = Path(str(config["keras"])).expanduser(), config.get("cut")

    def first_weights(network: keras.Model) -> FirstWeights:
        return FirstWeights(network, source=str(path), unused=("",) if cut else ())

    return Backbone(lambda shape: _cut(_network_of_file(path, shape), cut), None, first_weights)


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
        raise ConfigError(f"model.backbone.keras: no such file. Received: {str(path)!r}") from None
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"model.backbone.keras: {path} can't be used as a model: {reason}") from error
    if not isinstance(network, keras.Model) or not network.built:
        raise ConfigError(f"model.backbone.keras: {path} holds no model with a known input")
    expected = tuple(network.input_shape[1:])
    if any(size not in (None, given) for size, given in zip(expected, shape, strict=True)):
        raise ConfigError(f"model.backbone.keras: {path} needs images {expected}. Received: {shape}. Set model.size")
    return network


def _cut(network: keras.Model, layer: str | None) -> keras.Model:
    """Returns a network up to the output of a layer. Raises ConfigError if it has none of this name."""
    if layer is None:
        return network
    names = [item.name for item in network.layers]
    if layer not in names:
        raise unknown("model.backbone.cut", "layer", name=str(layer), known=names)
    return keras.Model(network.inputs, network.get_layer(layer).output, name="backbone")


def _refuse_unknown(config: Mapping[str, Any], known: list[str]) -> None:
    for key in config:
        if key not in known:
            raise unknown("model.backbone", "key", name=key, known=known)
