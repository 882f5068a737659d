from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from tfrun.data.table import Features
from tfrun.engine.building.functional_inputs import with_all_inputs
from tfrun.engine.building.kinds import Named
from tfrun.errors import ConfigError

FEATURES = Features({"x": ()}, {"kind": 3}, {}, tokens={"words": (9, 2)})
INPUTS = {
    "numbers": np.array([[5.0]], "float32"),
    "categories": np.array([[2]], "int32"),
    "words": np.array([[3, 4]], "int32"),
}
NAMED = Named("model", "mine", "mine.py:1")


def doubling(dtype: str = "float32") -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Returns the input and the output of a network that doubles a value."""
    x = keras.Input((1,), dtype=dtype)
    return x, keras.layers.Rescaling(2.0)(x)


def test_a_model_gets_the_inputs_that_it_names() -> None:
    """In the order of their names the first input would be the categories, whose double is 4."""
    x, y = doubling()
    model = keras.Model({"numbers": x}, y, name="mine")
    model.loss_weights = {"output": 0.5}
    complete = with_all_inputs(model, FEATURES, NAMED)
    assert complete(INPUTS).numpy().tolist() == [[10.0]]
    assert complete.name == "mine" and dict(complete.loss_weights) == {"output": 0.5}
    again = keras.models.model_from_json(complete.to_json())
    assert again(INPUTS).numpy().tolist() == [[10.0]] and json.loads(complete.to_json())["class_name"] == "Functional"


def test_other_models_stay_as_they_are() -> None:
    x, y = doubling()
    sequential, one_input = keras.Sequential([keras.layers.Dense(1)]), keras.Model(x, y)
    whole = keras.Model({"numbers": x, "categories": keras.Input((1,)), "words": keras.Input((2,))}, y)

    class Choosing(keras.Model):
        def call(self, inputs: dict[str, keras.KerasTensor]) -> keras.KerasTensor:
            return super().call({"numbers": inputs["numbers"]})

    for model in (sequential, one_input, whole, keras.Model(), Choosing({"numbers": x}, y)):
        assert with_all_inputs(model, FEATURES, NAMED) is model


def test_an_input_that_the_data_lacks_is_refused() -> None:
    x, y = doubling()
    with pytest.raises(ConfigError) as caught:
        with_all_inputs(keras.Model({"numbers": x, "age": keras.Input((1,))}, y), FEATURES, NAMED)
    assert str(caught.value) == (
        "model: mine (mine.py:1) has inputs that the data lacks: age. Received: numbers, categories, words"
    )


def test_a_class_of_its_own_needs_all_inputs() -> None:
    class Mine(keras.Model):
        pass

    x, y = doubling()
    with pytest.raises(ConfigError, match="needs a keras.Input for each input of the data, also for categories, words"):
        with_all_inputs(Mine({"numbers": x}, y), FEATURES, NAMED)
