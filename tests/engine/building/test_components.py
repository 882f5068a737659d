"""Components built from their settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.losses.regression import Huber
from tfrun.config.catalog import load_catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.engine.building.components import build_component, build_function
from tfrun.engine.training.hyperparameters import Hyperparameter, Hyperparameters
from tfrun.errors import ConfigError

CATALOG = load_catalog()


def component(kind: str, name: str, **options: Any) -> Any:
    more = {key: options.pop(key) for key in ("offered", "inputs") if key in options}
    return build_component(kind, ComponentSettings(name, options), catalog=CATALOG, where=kind, **more)


def test_a_class_gets_its_parameters() -> None:
    loss = component("loss", "huber", delta=2.0)
    assert isinstance(loss, Huber) and loss.delta == 2.0


def test_an_argument_is_passed_if_the_component_has_such_a_parameter() -> None:
    optimizer = component("optimizer", "sgd", offered={"learning_rate": 0.25, "features": None})
    assert float(optimizer.learning_rate) == 0.25


def test_floats_become_inputs_of_the_program() -> None:
    inputs = Hyperparameters()
    loss = component("loss", "huber", delta=2.0, inputs=inputs)
    assert isinstance(loss.delta, Hyperparameter)
    assert inputs.read() == {"loss.delta": 2.0}


def test_a_component_that_refuses_inputs_gets_constants() -> None:
    inputs = Hyperparameters()
    optimizer = component("optimizer", "sgd", momentum=0.5, inputs=inputs)  # Keras' SGD checks for a float
    assert optimizer.momentum == 0.5 and type(optimizer.momentum) is float
    assert inputs.read() == {}


def test_a_parameter_that_a_component_refuses_is_reported() -> None:
    with pytest.raises(ConfigError, match=r"optimizer: sgd refuses its parameters: .*'momentum': 7\.0"):
        component("optimizer", "sgd", momentum=7.0)


def test_a_name_in_a_parameter_becomes_an_object() -> None:
    layer = component("layer", "dense", units=3, kernel_regularizer={"name": "orthogonal"}, activation="softplus")
    assert type(layer.kernel_regularizer).__name__ == "Orthogonal"
    assert float(layer.activation(tf.constant(0.0))) == pytest.approx(np.log(2))


def test_functions_get_their_parameters_filled_in() -> None:
    settings = ComponentSettings("exponential", {"rate": 0.5, "decay_steps": 10})
    schedule = build_function("schedule", settings, catalog=CATALOG, where="schedule")
    assert float(schedule(tf.constant(20, tf.int64))) == pytest.approx(0.25)


def test_a_function_without_parameters_is_itself() -> None:
    settings = ComponentSettings("softplus", {})
    assert build_function("activation", settings, catalog=CATALOG, where="activation").__name__ == "softplus"
