"""Every component that tfrun ships keeps its kind's contract; components that don't are caught."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import pytest
import tensorflow as tf

from tfrun import schema
from tfrun.catalog import load_catalog
from tfrun.engine import contracts
from tfrun.engine.build import build_component, build_function

CATALOG = load_catalog()
PARAMETERS: dict[str, dict[str, Any]] = {
    "layer=dense": {"units": 3, "activation": "softplus", "kernel_regularizer": {"name": "l2", "l2": 0.1}},
    "layer=dropout": {"rate": 0.5},
    "layer=impute": {"values": [0.0] * 6},
    "loss=per_output": {"losses": {"output": "huber"}},
    "loss=weighted_sum": {"losses": {"near": {"name": "huber", "delta": 0.5}, "far": "mae"}, "weights": {"far": 0.1}},
    "schedule=piecewise": {"boundaries": [2], "factors": [1.0, 0.1], "unit": "epoch"},
}
OF_A_TABLE = {"dense_features", "feature_cross"}  # tested with the tables that they are for
NAMES = [
    f"{kind}={name}"
    for kind in contracts.CONTRACTS
    for name in CATALOG.names(kind)
    if not (kind == "layer" and name in OF_A_TABLE)
]


@pytest.fixture(autouse=True)
def no_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the fresh process to the test of the command: it takes seconds for each layer."""
    monkeypatch.setattr(contracts, "_saved", lambda made, inputs: contracts.Finding("saved", True))


@pytest.mark.parametrize("word", NAMES)
def test_components_keep_their_contracts(word: str) -> None:
    keras.utils.set_random_seed(0)
    kind, _, name = word.partition("=")
    config = schema.component(kind, {"name": name, **PARAMETERS.get(word, {})}, CATALOG)
    build = build_component if kind == "optimizer" else build_function
    found = contracts.findings(kind, partial(build, CATALOG, kind, config, kind))
    assert [finding for finding in found if not finding.kept] == []
    assert len(found) > (0 if kind == "schedule" else 3)


def broken(kind: str, component: Any) -> list[str]:
    """Returns the promises that a component doesn't keep."""
    return [finding.promise for finding in contracts.findings(kind, component) if not finding.kept]


def test_a_loss_that_mixes_shapes_is_caught() -> None:
    found = broken("loss", lambda: lambda y_true, y_pred: tf.square(y_pred - y_true[:, 0]))
    assert found == ["gives each example a value", "an example's value moves with its row"]


def test_a_loss_of_the_whole_batch_is_caught() -> None:
    found = broken("loss", lambda: lambda y_true, y_pred: tf.reduce_mean(tf.square(y_pred - y_true)))
    assert found[0] == "gives each example a value"


def test_a_formula_that_overflows_is_caught() -> None:
    found = broken("activation", lambda: lambda x: tf.math.log(1.0 + tf.exp(x)))
    assert found == ["values and gradients are finite from −10000 to 10000"]


def test_a_wrong_gradient_is_caught() -> None:
    @tf.custom_gradient
    def square(x: tf.Tensor) -> Any:
        return x * x, lambda upstream: upstream * x

    assert broken("activation", lambda: square) == ["gradients agree with finite differences"]


def test_a_metric_that_averages_batches_is_caught() -> None:
    class OfBatches(keras.metrics.Metric):
        def __init__(self, name: str = "of_batches"):
            super().__init__(name=name)
            self.total = self.add_weight(name="total", initializer="zeros")
            self.count = self.add_weight(name="count", initializer="zeros")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.total.assign_add(tf.sqrt(tf.reduce_mean(tf.square(y_true - y_pred))))
            self.count.assign_add(1.0)

        def result(self) -> Any:
            return self.total / self.count

    found = broken("metric", OfBatches)
    assert "the result doesn't depend on how rows fall into batches" in found
    assert "a weight of 2 counts a row twice, 0 leaves it out" in found
    assert "from_config(get_config()) makes the same again" in found  # __init__ takes no dtype


def test_a_layer_without_config_is_caught() -> None:
    class Scale(keras.layers.Layer):
        def __init__(self, factor: float = 1.0, **kwargs: Any):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, inputs: Any) -> Any:
            return self.factor * inputs

        def get_config(self) -> dict[str, Any]:
            return {key: value for key, value in super().get_config().items() if key != "factor"}

    assert "made again it gives the same" in broken("layer", lambda: Scale(3.0))


def test_an_initializer_that_claims_another_variance_is_caught() -> None:
    class Narrow(keras.initializers.Initializer):
        def variance(self, fan_in: float, fan_out: float) -> float:
            return 2.0 / fan_in

        def __call__(self, shape: Any, dtype: Any = None) -> Any:
            return keras.random.normal(shape, 0.0, 0.01, dtype or "float32")

    assert "has mean 0 and the variance it claims" in broken("initializer", Narrow)
