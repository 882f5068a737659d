"""What components return; `tests/components/test_wrong_components.py` has what they are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

from tfrun.data.targets import FittedTarget
from tfrun.engine.building.kinds import (
    Named,
    check_built,
    checked_algorithm,
    checked_schedule,
    checked_values,
    to_scalar,
    to_tensor,
)
from tfrun.errors import ConfigError
from tfrun.protocols import AlgorithmOffer

MINE = Named("loss", "mine", "mine.py:3")
Y = tf.zeros([4, 1])


class Given:
    """An algorithm whose methods return what it is given."""

    own_targets = False

    def __init__(self, forward: Any = None, evaluate: Any = None, gradients: Any = None):
        self.returned = {"forward": forward, "evaluate": evaluate, "gradients": gradients}

    def forward(self, model: Any, loss: Any, x: Any, y: Any) -> Any:
        return self.returned["forward"]

    def evaluate(self, model: Any, loss: Any, x: Any, y: Any) -> Any:
        return self.returned["evaluate"]

    def gradients(self, differentiate: Any, variables: Any) -> Any:
        return self.returned["gradients"]


def call(method: str, returned: Any) -> Any:
    algorithm = AlgorithmOffer.of(Given(**{method: returned}))
    checked = checked_algorithm(algorithm, MINE, targets={"output": FittedTarget("regression")})
    if method == "gradients":
        assert checked.gradients is not None
        return checked.gradients(lambda: None, [1, 2])
    function: Any = {"forward": checked.forward, "evaluate": checked.evaluate}[method]
    return function(None, None, None, Y)


@pytest.mark.parametrize(
    ("method", "returned"),
    [
        ("forward", (tf.constant(1.0), Y)),
        ("forward", (1.0, Y)),
        ("forward", ({"a": 1.0, "b": tf.constant(2.0)}, {"output": Y, "other": Y})),
        ("evaluate", (tf.zeros([4]), Y)),
        ("gradients", (tf.constant(1.0), Y, [None, None])),
    ],
)
def test_what_is_right_is_returned(method: str, returned: Any) -> None:
    assert call(method, returned) == returned


@pytest.mark.parametrize(
    ("method", "returned", "message"),
    [
        ("forward", None, r"from forward \(total, y_pred\). Received: None"),
        ("forward", (1.0, Y, Y), r"from forward \(total, y_pred\). Received: 3 values"),
        ("forward", (tf.zeros([4]), Y), r"from forward a scalar to minimize.* Received: the shape \(4,\)"),
        ("forward", ({"a": None}, Y), "from forward a scalar to minimize.* Received: None"),
        ("forward", (1.0, Y[:, 0]), r"predictions of the shape \(batch, 1\). Received: \(4,\) for a batch of 4"),
        ("forward", (1.0, Y[:3]), r"Received: \(3, 1\) for a batch of 4"),
        ("forward", (1.0, {"output": tf.zeros([4, 2])}), r"Received: \(4, 2\)"),
        ("evaluate", (tf.zeros([]), Y), r"from evaluate a loss for each example, \(B,\). Received: the shape \(\)"),
        (
            "gradients",
            (1.0, Y, [None]),
            "from gradients a list of 2, one for each.* Received: 1 values",
        ),
        ("gradients", (1.0, [None, None]), r"from gradients \(loss, y_pred, gradients\). Received: 2 values"),
    ],
)
def test_what_an_algorithm_returns_wrongly(method: str, returned: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^loss: mine \(mine.py:3\) must return .*{message}"):
        call(method, returned)


def test_predictions_of_own_targets_may_have_any_shape() -> None:
    algorithm = Given(forward=(1.0, None))
    algorithm.own_targets = True
    checked = checked_algorithm(AlgorithmOffer.of(algorithm), MINE, targets={})
    assert checked.forward(None, None, None, Y) == (1.0, None)


@pytest.mark.parametrize(
    ("convert", "value", "received"),
    [
        (to_tensor, None, "None"),
        (to_tensor, "text", r"string \(\)"),
        (to_tensor, tf.constant(True), r"bool \(\)"),
        (to_scalar, tf.zeros([3]), r"the shape \(3,\)"),
        (to_scalar, [1.0], r"the shape \(1,\)"),
    ],
)
def test_what_is_no_number(convert: Callable[..., Any], value: Any, received: str) -> None:
    with pytest.raises(ConfigError, match=rf"mine.py:3\) must return a number. Received: {received}$"):
        convert(value, MINE, expected="a number")


def test_values_are_checked_when_they_are_returned() -> None:
    assert float(checked_schedule(lambda step: 0.5, MINE)(tf.constant(0))) == 0.5
    with pytest.raises(ConfigError, match="must return a factor, a scalar. Received: None"):
        checked_schedule(lambda step: None, MINE)(tf.constant(0))
    assert checked_values(lambda y, y_pred: y[:, 0], MINE)(Y, Y).shape == (4,)
    with pytest.raises(ConfigError, match="must return a value for each example"):
        checked_values(lambda y, y_pred: None, MINE)(Y, Y)


def of_both(y_true: Any, y_pred: Any, scale: float) -> Any:
    return y_true


def test_what_is_of_its_kind() -> None:
    class Updates(keras.optimizers.Optimizer):
        def apply(self, grads: Any, trainable_variables: Any = None) -> None: ...

    for kind, built in (
        ("loss", functools.partial(of_both, scale=2.0)),
        ("loss", lambda *arrays: arrays),
        ("loss", keras.losses.MeanSquaredError()),
        ("metric", keras.metrics.MeanAbsoluteError()),
        ("initializer", keras.initializers.Ones()),
        ("model", keras.Sequential([keras.layers.Dense(1)])),
        ("optimizer", keras.optimizers.SGD()),
        ("optimizer", Updates(0.1)),
        ("schedule", lambda step, total_steps: 1.0),
        ("activation", tf.nn.relu),
    ):
        check_built(kind, built, MINE)


def test_an_initializer_that_draws_is_only_traced() -> None:
    generator = keras.random.SeedGenerator(4)
    before = generator.state.numpy().tolist()
    check_built("initializer", lambda shape, dtype: keras.random.normal(shape, dtype=dtype, seed=generator), MINE)
    assert generator.state.numpy().tolist() == before
