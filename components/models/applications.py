"""The networks of keras.applications."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import keras

from tfrun.components.models.backbones import Backbone, cut, refuse_unknown
from tfrun.errors import ConfigError, unknown
from tfrun.protocols import FirstWeights

SET_HERE = (  # arguments of an application that `pretrained` sets
    "include_top", "weights", "input_tensor", "input_shape", "pooling", "classes", "classifier_activation", "name",
)  # fmt: skip
OF_THE_TOP = ("predictions", "^top_", "conv_preds", "[Ll]ogits", "(^|/)fc[12]/")  # layers that the backbone leaves out
DOWNLOADED = "imagenet"


def of_application(config: Mapping[str, Any]) -> Backbone:
    """Returns the backbone of `{application: name, …}`. Raises ConfigError."""
    make, module = _application(config)
    weights = config.get("weights", DOWNLOADED)

    def with_weights(shape: tuple[int, ...]) -> tuple[keras.Model, FirstWeights | None]:
        network = _network(make, config, shape)
        if weights is None:
            return network, None
        if weights == DOWNLOADED:
            download = functools.partial(_network, make, config, shape, weights=DOWNLOADED)
            return network, FirstWeights(network, download=download)
        return network, FirstWeights(network, source=str(weights), unused=OF_THE_TOP, key="model.backbone.weights")

    return Backbone(with_weights, module.preprocess_input)


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
    refuse_unknown(config, ["application", "weights", "cut", *arguments])
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
    return cut(network, config.get("cut"))
