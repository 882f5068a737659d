"""The networks for images that `pretrained` can be built around.

applications.py: those of keras.applications. saved_networks.py: those of a .keras file and of a SavedModel's folder.
presets.py: those of KerasHub.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras

from tfrun.errors import ConfigError, unknown
from tfrun.protocols import FirstWeights


@dataclass(frozen=True)
class Backbone:
    """A network to build a model around.

    Attributes:
        make: (shape of the images) → the network, and what it begins with; None if its weights stay what they are.
        preprocess: scales pixels from 0 to 255, (B, H, W, 3), as the network needs them; None leaves them as they are.
        files: those that the network and `preprocess` are read from.
    """

    make: Callable[[tuple[int, ...]], tuple[keras.layers.Layer, FirstWeights | None]]
    preprocess: Callable[..., Any] | None = None
    files: tuple[Path, ...] = ()


class Vectors(NamedTuple):
    """What comes before the head of a model.

    Attributes:
        inputs: the model's Keras inputs.
        vectors: a vector for each example, (B, C).
        first_weights: what the network that makes them begins with.
        files: those that the network is read from.
    """

    inputs: Any
    vectors: Any
    first_weights: FirstWeights | None
    files: tuple[Path, ...]


def cut(network: keras.Model, layer: str | None) -> keras.Model:
    """Returns a network up to the output of a layer. Raises ConfigError if it has none of this name."""
    if layer is None:
        return network
    names = [item.name for item in network.layers]
    if layer not in names:
        raise unknown("model.backbone.cut", "layer", name=str(layer), known=names)
    inputs = network.inputs if len(network.inputs) == 1 else network.input
    return keras.Model(inputs, network.get_layer(layer).output, name="backbone")


def refuse_unknown(config: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raises ConfigError for the first key of `model.backbone` that isn't known."""
    for key in config:
        if key not in known:
            raise unknown("model.backbone", "key", name=key, known=known)


def refuse_several(where: str, network: keras.Model) -> None:
    """Raises ConfigError if a network has more than one output."""
    if len(network.outputs) > 1:
        names = ", ".join(network.output if isinstance(network.output, dict) else network.output_names)
        raise ConfigError(f"{where} has several outputs. Name the layer of one with cut. Received: {names}")


def check_images(where: str, expected: Sequence[int | None], shape: Sequence[int]) -> None:
    """Raises ConfigError unless images of a shape can be put into a network; None stands for any size."""
    fits = len(expected) == len(shape)
    if not fits or any(size not in (None, given) for size, given in zip(expected, shape, strict=True)):
        raise ConfigError(f"{where} needs images {tuple(expected)}. Received: {tuple(shape)}. Set model.size")
