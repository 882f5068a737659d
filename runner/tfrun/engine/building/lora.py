"""Low-rank adaptation: layers keep their weights and learn a product of two small matrices beside them."""

from __future__ import annotations

import re

import keras

from tfrun.config.settings import LoraSettings
from tfrun.engine import private
from tfrun.errors import ConfigError, near_miss

ADAPTER = re.compile(r"(^|/)lora_[a-z]+_[ab]$")  # ends the paths of the variables that are added


def add_lora(model: keras.Model, settings: LoraSettings) -> None:
    """Adds to each layer whose weights match a pattern the matrices A and B: its kernel W becomes W + (alpha/rank)·A·B.

    W is no longer trained, and B begins at 0, so that the model is what it was. Which layers can be adapted is for
    Keras to say: `Dense`, `EinsumDense`, `Embedding` and convolutions.

    Source: Hu et al., "LoRA: Low-rank adaptation of large language models", 2021, arXiv:2106.09685, section 4.1.

    Args:
        model: built.
        settings: the rank, and which layers.

    Raises:
        ConfigError: no such layer matches, or Keras can't adapt one.
    """
    able = {
        layer.trainable_variables[0].path: layer
        for layer in private.layers_of(model)
        if hasattr(layer, "enable_lora") and layer.trainable_variables
    }
    chosen = {path: layer for path, layer in able.items() if re.search(settings.match, path)}
    if not chosen:
        known = ", ".join(able) or "none"
        raise ConfigError(
            f"model.lora.match: {settings.match!r} matches no layer that can be adapted. Known: {known}."
            f"{near_miss(settings.match, able)}"
        )
    for path, layer in chosen.items():
        above = path.split("/")[:-2]  # the layer adds its own name
        try:
            with keras.name_scope("/".join(above)) if above else keras.name_scope(""):
                layer.enable_lora(settings.rank, lora_alpha=settings.alpha)
        except (ValueError, NotImplementedError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(f"model.lora: {path} can't be adapted: {reason}") from error


def is_adapter(path: str) -> bool:
    """Returns whether a variable is one that `add_lora` has added."""
    return ADAPTER.search(path) is not None
