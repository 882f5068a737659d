"""Components that break the contract of their kind; `tests/components/test_contracts.py` has those that keep it."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

from tfrun.engine.verify import contracts
from tfrun.engine.verify.findings import Finding
from tfrun.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips loading in a new process, which takes seconds; `test_findings.py` tests it."""
    monkeypatch.setattr(contracts, "check_saved", lambda model, inputs, *, outputs: Finding("saved", True))


def broken(kind: str, component: Any) -> list[str]:
    """Returns the promises that a component doesn't keep."""
    return [finding.promise for finding in contracts.check(kind, component) if not finding.kept]


def test_a_loss_that_mixes_shapes_is_caught() -> None:
    promises = broken("loss", lambda: lambda y_true, y_pred: tf.square(y_pred - y_true[:, 0]))
    assert promises == [
        "returns a value for each example",
        "in another order of the rows, each example has the same value",
        "an example's value depends only on its own row",
    ]


def test_a_loss_that_averages_the_batch_is_caught() -> None:
    promises = broken("loss", lambda: lambda y_true, y_pred: tf.reduce_mean(tf.square(y_pred - y_true)))
    assert promises[0] == "returns a value for each example"


def test_a_formula_that_overflows_is_caught() -> None:
    promises = broken("activation", lambda: lambda x: tf.math.log(1.0 + tf.exp(x)))
    assert promises == ["values and gradients are finite from −10000 to 10000"]


def test_a_wrong_gradient_is_caught() -> None:
    @tf.custom_gradient
    def square(x: tf.Tensor) -> Any:
        return x * x, lambda upstream: upstream * x

    assert broken("activation", lambda: square) == ["gradients agree with finite differences"]


def test_a_metric_that_averages_batches_is_caught() -> None:
    class MeanOfBatches(keras.metrics.Metric):
        def __init__(self, name: str = "of_batches"):
            super().__init__(name=name)
            self.total = self.add_weight(name="total", initializer="zeros")
            self.count = self.add_weight(name="count", initializer="zeros")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.total.assign_add(tf.sqrt(tf.reduce_mean(tf.square(y_true - y_pred))))
            self.count.assign_add(1.0)

        def result(self) -> Any:
            return self.total / self.count

    promises = broken("metric", MeanOfBatches)
    assert "the result doesn't depend on how the rows are batched" in promises
    assert "a sample weight of 2 counts a row twice, 0 leaves it out" in promises
    assert "from_config(get_config()) makes an object with the same config" in promises  # __init__ takes no dtype


def test_a_layer_without_config_is_caught() -> None:
    class Scale(keras.layers.Layer):
        def __init__(self, factor: float = 1.0, **kwargs: Any):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, inputs: Any) -> Any:
            return self.factor * inputs

        def get_config(self) -> dict[str, Any]:
            return {key: value for key, value in super().get_config().items() if key != "factor"}

    assert "made again from its config, it returns the same" in broken("layer", lambda: Scale(3.0))


def test_an_initializer_that_returns_another_variance_is_caught() -> None:
    class Narrow(keras.initializers.Initializer):
        def variance(self, fan_in: float, fan_out: float) -> float:
            return 2.0 / fan_in

        def __call__(self, shape: Any, dtype: Any = None) -> Any:
            return keras.random.normal(shape, 0.0, 0.01, dtype or "float32")

    assert "values have mean 0 and the variance that its `variance` returns" in broken("initializer", Narrow)


def test_a_regularizer_that_returns_a_tensor_is_caught() -> None:
    assert "returns a scalar, at least 0" in broken("regularizer", lambda: lambda w: -tf.reduce_sum(tf.square(w)))


def test_a_constraint_that_is_not_idempotent_is_caught() -> None:
    assert broken("constraint", lambda: lambda w: 0.5 * w) == ["applied again, it changes nothing"]


def test_a_schedule_below_0_is_caught() -> None:
    def schedule(step: Any, total_steps: Any) -> Any:
        return 1.0 - tf.cast(step, tf.float32) / total_steps

    assert broken("schedule", lambda: schedule) == ["returns a finite factor, at least 0, at every step"]


def test_an_optimizer_that_climbs_is_caught() -> None:
    class Climber(keras.optimizers.SGD):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(-gradient, variable, learning_rate)

    assert broken("optimizer", lambda learning_rate=0.01: Climber(learning_rate)) == ["20 steps reduce ‖w‖²"]


def test_an_error_counts_as_a_broken_promise() -> None:
    def activation(x: Any) -> Any:
        raise ZeroDivisionError("no value")

    (finding,) = contracts.check("activation", lambda: activation)
    assert (finding.promise, finding.kept) == ("runs without an error", False)
    assert finding.numbers == "ZeroDivisionError: no value"


def test_refused_parameters_are_the_users_mistake() -> None:
    def make() -> Any:
        raise ConfigError("loss.delta: must be positive")

    with pytest.raises(ConfigError, match="must be positive"):
        contracts.check("loss", make)
