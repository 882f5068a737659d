"""The names of Keras' own components, which are written down, against the Keras that is installed."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras.src import activations, constraints, initializers, regularizers

from tfrun.config.directions import direction_of
from tfrun.config.keras_names import KERAS_METRICS, KERAS_NAMES

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


ARGUMENTS: dict[str, list[Any]] = {
    **{name: [0.5] for name in ("SensitivityAtSpecificity", "SpecificityAtSensitivity")},
    **{name: [0.5] for name in ("PrecisionAtRecall", "RecallAtPrecision")},
    **{name: [2] for name in ("MeanIoU", "OneHotMeanIoU")},
    **{name: [2, [0]] for name in ("IoU", "OneHotIoU")},
}
WITHOUT_DIRECTION = ("Mean", "MeanMetricWrapper", "Metric", "Sum")
COUNTS = ("FalseNegatives", "FalsePositives", "TrueNegatives", "TruePositives")  # of which Keras says nothing


def test_metrics_and_their_directions() -> None:
    installed = [
        name
        for name, item in vars(keras.metrics).items()
        if isinstance(item, type) and issubclass(item, keras.metrics.Metric)
    ]
    assert set(KERAS_METRICS) == set(installed) - set(WITHOUT_DIRECTION)
    for name, is_greater_better in KERAS_METRICS.items():
        metric = getattr(keras.metrics, name)(*ARGUMENTS.get(name, []))
        if name not in COUNTS:
            assert (metric._direction == "up") is is_greater_better, name
        assert direction_of(metric) is is_greater_better


def test_a_metric_object_says_its_direction_itself() -> None:
    metric = keras.metrics.Mean("episode_return")
    assert direction_of(metric) is None
    metric.higher_is_better = True
    assert direction_of(metric) is True
    assert direction_of(type("Mine", (keras.metrics.AUC,), {})()) is True
