"""The checks that contracts share."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.config import registry
from tfrun.engine.verify import findings
from tfrun.engine.verify.findings import Finding, collect, compare

X = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


@keras.saving.register_keras_serializable("test_findings")
class Scale(keras.layers.Layer):
    def __init__(self, factor: float = 2.0, **options: Any):
        super().__init__(**options)
        self.factor = factor

    def call(self, inputs: Any) -> Any:
        return self.factor * inputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


class Plain:
    """It has no config."""


def test_findings_up_to_an_error_are_collected() -> None:
    def contract() -> Iterator[Finding]:
        yield Finding("a", True)
        raise ValueError("not\n   today")

    assert collect(contract()) == [Finding("a", True), Finding("runs without an error", False, "ValueError: not today")]


@pytest.mark.parametrize(
    ("actual", "expected", "kept"),
    [
        ([1.0, 2.0], [1.0, 2.05], True),  # 0.1 relative to 2.05
        ([1.0, 2.0], [1.0, 2.5], False),
        ([0.0], [0.09], True),  # absolute below 1
        ([np.nan], [np.nan], False),
        ({"a": 1.0, "b": 5.0}, {"a": 1.0, "b": 9.0}, False),
        (np.ones(2), np.ones([2, 2]), False),  # they would broadcast
        (np.ones(1, "float16"), np.full(1, 1.15, "float16"), False),
    ],
)
def test_results_are_compared_with_a_tolerance(actual: Any, expected: Any, kept: bool) -> None:
    assert compare("same", actual, expected=expected, tolerance=0.1).kept is kept


def test_a_function_that_differs_when_it_is_traced_is_found() -> None:
    def run(x: tf.Tensor) -> tf.Tensor:
        return x + (1.0 if tf.inside_function() else 0.0)

    assert [finding.kept for finding in findings.check_compiled(run, X)] == [False, False]
    assert [finding.kept for finding in findings.check_compiled(tf.square, X)] == [True, True]


def test_rows_that_depend_on_others_are_found() -> None:
    apart = findings.check_rows_apart(tf.square, X, result="value")
    assert apart == Finding("an example's value depends only on its own row", True, apart.numbers)
    assert not findings.check_rows_apart(lambda x: x - tf.reduce_mean(x), X, result="value").kept
    assert findings.check_rows_apart(lambda x: x * 2, tf.constant([1, 2, 3]), result="value").kept


def test_gradients() -> None:
    np.testing.assert_allclose(findings.gradient(tf.square, X), 2 * X)
    assert findings.check_gradient(tf.square, tf.cast(X, tf.float64)).kept

    @tf.custom_gradient
    def wrong(x: tf.Tensor) -> Any:
        return tf.square(x), lambda upstream: upstream

    assert not findings.check_gradient(wrong, tf.cast(X, tf.float64)).kept


def test_an_object_is_made_again_from_its_config() -> None:
    assert [finding.kept for finding in findings.check_config(Scale(3.0), lambda scale: scale(X))] == [True] * 4
    assert list(findings.check_config(Plain())) == []


def test_a_class_that_keras_does_not_find_is_reported() -> None:
    class Hidden(Scale):
        pass

    *_, finding = findings.check_config(Hidden())
    assert not finding.kept and "register_keras_serializable" in finding.numbers


def test_a_config_with_other_parameters_is_reported() -> None:
    class Renamed(Scale):
        def get_config(self) -> dict[str, Any]:
            return {"times": self.factor}

    incomplete, refused = findings.check_config(Renamed())
    assert not incomplete.kept and incomplete.numbers == "factor"
    assert not refused.kept and "times" in refused.numbers


@pytest.mark.slow
def test_a_saved_model_is_loaded_in_a_new_process() -> None:
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    assert findings.check_saved(model, X, outputs=model(X)).kept
    model = keras.Model(inputs, Scale()(inputs))  # the new process doesn't know this class
    finding = findings.check_saved(model, X, outputs=model(X))
    assert not finding.kept and "Scale" in finding.numbers


OF_IDS = """
import keras, tensorflow as tf

@keras.saving.register_keras_serializable("of_ids")
class OfIds(keras.Model):
    def __init__(self, name=None):
        super().__init__(name=name)
        self.dense = keras.layers.Dense(1)

    def call(self, inputs):
        return self.dense(tf.one_hot(inputs["ids"], 3))  # fails with the floats with which Keras calls it

    def get_config(self):
        return {"name": self.name}
"""


@pytest.mark.slow
def test_a_model_that_keras_cannot_build_is_told_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_ids.py").write_text(OF_IDS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "modules", lambda: ["of_ids"])
    inputs = {"ids": tf.constant([0, 1, 2])}
    model = importlib.import_module("of_ids").OfIds()
    finding = findings.check_saved(model, inputs, outputs=model(inputs))
    assert not finding.kept and "build_from_config(self, config)" in finding.numbers


def test_shapes_are_shown_as_they_are_nested() -> None:
    assert findings.shapes({"a": X, "b": [tf.zeros([1])]}) == "{'a': (3, 2), 'b': [(1,)]}"
