"""The names of Keras' own components, which are written down, against the Keras that is installed."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras.src import activations, constraints, initializers, regularizers

from tfrun.config.keras_names import KERAS_NAMES

MODULES: dict[str, Any] = {
    "activation": activations,
    "constraint": constraints,
    "initializer": initializers,
    "regularizer": regularizers,
}
NO_COMPONENTS = {"constraint", "initializer", "regularizer", "stft"}  # base classes, and one for signals
OTHER_NAMES = {"normal", "one", "uniform", "zero"}


@pytest.mark.parametrize("kind", MODULES)
def test_small_components(kind: str) -> None:
    installed = {name for name in MODULES[kind].ALL_OBJECTS_DICT if name == name.lower()}
    assert set(KERAS_NAMES[kind]) == installed - NO_COMPONENTS - OTHER_NAMES
    assert all(MODULES[kind].get(name) is not None for name in KERAS_NAMES[kind] if name != "constant")  # needs a value


@pytest.mark.parametrize("name", KERAS_NAMES["layer"])
def test_layers(name: str) -> None:
    assert issubclass(getattr(keras.layers, name), keras.layers.Layer)
