"""Compares numbers that are inputs of a program with the same arithmetic on constants."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training.hyperparameters import Hyperparameter, Hyperparameters

X = tf.constant([1.0, 2.0, 4.0])


def traced(function: Callable[[Any, tf.Tensor], Any], value: float) -> tuple[Hyperparameter, Callable[[], Any], list]:
    """Returns the number, the compiled function of it and a list with an item for each time it was traced."""
    number, traces = Hyperparameter(value), []

    @tf.function(autograph=False)
    def call() -> Any:
        traces.append(1)
        return function(number, X)

    return number, call, traces


@pytest.mark.parametrize(
    "function",
    [
        lambda h, x: x * h,
        lambda h, x: h * x,
        lambda h, x: (1 - h) * x + h / 2,
        lambda h, x: x**h - h**2 + 2.0**h,
        lambda h, x: tf.minimum(x, h) // h % 3 + abs(-h),
        lambda h, x: tf.where(x >= h, x, 0.0) + tf.cast(h < x, tf.float32),
        lambda h, x: tf.cast(h, tf.float64) * tf.cast(x, tf.float64),
        lambda h, x: h * tf.cast(x, tf.float64) - tf.cast(x, tf.float64) * h,
    ],
)
def test_another_value_needs_no_new_trace(function: Callable[..., Any]) -> None:
    number, call, traces = traced(function, 1.5)
    np.testing.assert_allclose(call(), function(1.5, X), rtol=1e-6)
    assert number.accepts(0.3) and number.accepts(-7.0)
    number.assign(2.5)
    np.testing.assert_allclose(call(), function(2.5, X), rtol=1e-6)
    assert len(traces) == 1 and number.value == 2.5


@pytest.mark.parametrize(
    ("function", "good", "bad"),
    [
        (lambda h, x: x if h > 1 else -x, 1.1, 0.9),
        (lambda h, x: x * 2 if h == 2.0 else x, 2.0, 2.1),
        (lambda h, x: x if h else -x, 0.1, 0.0),
        (lambda h, x: x * math.log(h), 2.0, 2.5),  # a constant of the program
        (lambda h, x: x * np.exp(h), 2.0, 2.5),
        (lambda h, x: x * float(h), 2.0, 2.5),
        (lambda h, x: x * int(h), 2.9, 3.0),
        (lambda h, x: x * len(range(h)), 2.0, 3.0),
    ],
)
def test_a_value_fits_if_python_would_get_the_same_answers(
    function: Callable[..., Any], good: float, bad: float
) -> None:
    number, call, _ = traced(function, 2.0)
    np.testing.assert_allclose(call(), function(2, X), rtol=1e-6)
    assert number.accepts(good)
    assert not number.accepts(bad)


def test_a_value_used_outside_of_a_program_is_a_constant() -> None:
    for use in (lambda h: h / 2, lambda h: tf.constant(1.0) * h, lambda h: np.float32(2) * h):
        number = Hyperparameter(2.0)
        use(number)
        assert number.accepts(2.0) and not number.accepts(2.5)


def test_an_integer_tensor_refuses_it() -> None:
    _, call, _ = traced(lambda h, x: tf.constant([1, 2]) * h, 1.5)
    with pytest.raises(TypeError):
        call()


def test_only_floats_are_inputs() -> None:
    inputs = Hyperparameters()
    wrapped = inputs.wrap("loss", {"delta": 1.5, "power": 2, "flag": True, "name": "x", "values": [1.0]})
    assert {name: type(value) for name, value in wrapped.items()} == {
        "delta": Hyperparameter, "power": int, "flag": bool, "name": str, "values": list,
    }  # fmt: skip
    described = {"delta": "input", "power": 2, "flag": True, "name": "x", "values": [1.0]}
    assert inputs.structure("loss", {"delta": 1.5, "power": 2, "flag": True, "name": "x", "values": [1.0]}) == described
    inputs.forget("loss")
    assert inputs.structure("loss", {"delta": 1.5}) == {"delta": 1.5}


def test_values_are_assigned_if_they_fit() -> None:
    ours, theirs = Hyperparameters(), Hyperparameters()
    delta = ours.wrap("loss", {"delta": 1.5})["delta"]
    theirs.wrap("loss", {"delta": 3.0})
    assert delta > 1
    assert ours.accepts(theirs.read())
    ours.assign(theirs.read())
    assert delta.value == 3.0
    with ours.without_recording():
        assert delta < 10
    theirs.wrap("loss", {"delta": 11.0})
    assert ours.accepts(theirs.read())
    assert delta < 10
    assert not ours.accepts(theirs.read())
