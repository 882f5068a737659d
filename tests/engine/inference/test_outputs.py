"""What a run predicts, from its model's outputs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget
from tfrun.engine.inference.outputs import outputs_from_predictions, outputs_of, predictions_of, sizes

PRICE = FittedTarget("regression", [], 200.0, 50.0)


def fitted(**targets: FittedTarget) -> Preprocessing:
    return Preprocessing(columns=(), targets=targets)


def test_numbers_are_in_the_unit_of_the_target() -> None:
    y = predictions_of(tf.constant([[1.0], [-0.5]]), fitted(output=PRICE))["output"]
    assert y.tolist() == [[250.0], [175.0]] and y.dtype == np.float64


def test_of_other_tasks_the_outputs_stay_as_they_are() -> None:
    assert predictions_of(tf.constant([[1.0]]), fitted(output=PRICE), has_targets=False)["output"].tolist() == [[1.0]]


def test_classes_have_probabilities() -> None:
    """The sigmoid of ln 3 is 3/4, and the softmax of (0, ln 2, ln 5) is (1/8, 2/8, 5/8)."""
    outputs = {"output": tf.math.log([[3.0]]), "kind": tf.math.log([[1.0, 2.0, 5.0]])}
    kinds = FittedTarget("classification", ["a", "b", "c"], 0.0, 1.0)
    p = predictions_of(outputs, fitted(output=FittedTarget("classification", ["no", "yes"], 0.0, 1.0), kind=kinds))
    np.testing.assert_allclose(p["output"], [[0.25, 0.75]], rtol=1e-6)
    np.testing.assert_allclose(p["kind"], [[0.125, 0.25, 0.625]], rtol=1e-6)


def test_outputs_of_predictions_give_these_predictions_again() -> None:
    """The logits of (1/4, 3/4) are ln 3 of one output, or any pair with this difference."""
    classes = FittedTarget("classification", ["no", "yes"], 0.0, 1.0)
    kinds = FittedTarget("classification", ["a", "b", "c"], 0.0, 1.0)
    targets = fitted(output=PRICE, sold=classes, kind=kinds)
    predicted = {"output": [[250.0]], "sold": [[0.25, 0.75]], "kind": [[0.0, 0.25, 0.75]]}
    outputs = outputs_from_predictions({name: np.array(values) for name, values in predicted.items()}, targets)
    assert outputs["output"].tolist() == [[1.0]] and outputs["sold"][0, 0] == pytest.approx(np.log(3.0))
    for name, values in predictions_of(outputs, targets).items():
        np.testing.assert_allclose(values, predicted[name], atol=1e-7)
    assert outputs_from_predictions({"output": np.array([[250.0]])}, fitted(output=PRICE)).tolist() == [[1.0]]


def test_the_size_of_a_number_is_its_distance_from_the_mean() -> None:
    assert sizes({"output": np.array([[190.0], [320.0]])}, fitted(output=PRICE)) == {"output": 120.0}
    assert sizes({"output": np.array([[201.0]])}, fitted(output=PRICE)) == {"output": 50.0}
    assert sizes({"output": np.array([[201.0]])}, fitted(output=PRICE), has_targets=False) == {"output": 201.0}


@pytest.mark.parametrize("as_graph", [True, False])
def test_a_model_is_called_without_training(as_graph: bool) -> None:
    inputs = keras.Input((1,))
    model: Any = keras.Model(inputs, keras.layers.Dropout(0.9)(inputs))
    assert np.array(outputs_of(model, tf.ones((3, 1)), as_graph=as_graph)).tolist() == [[1.0]] * 3
