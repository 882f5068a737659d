"""Checks that every component that tfrun ships keeps its kind's contract, and that broken ones are caught."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun import cli
from tfrun.config import schema
from tfrun.config.catalog import load_catalog
from tfrun.data.table import Table
from tfrun.engine.building.parts import build_component, build_function
from tfrun.engine.verify import contracts, data_contracts

CATALOG = load_catalog()
PARAMETERS: dict[str, dict[str, Any]] = {
    "layer=dense": {"units": 3, "activation": "softplus", "kernel_regularizer": {"name": "l2", "l2": 0.1}},
    "layer=dropout": {"rate": 0.5},
    "layer=embedding_bag": {"num_ids": 5},
    "layer=impute": {"values": [0.0] * 6},
    "loss=per_output": {"losses": {"output": "huber"}},
    "loss=weighted_sum": {"losses": {"near": {"name": "huber", "delta": 0.5}, "far": "mae"}, "weights": {"far": 0.1}},
    "schedule=piecewise": {"boundaries": [2], "factors": [1.0, 0.1], "unit": "epoch"},
}
IMAGES = ["data=digits", "metric=accuracy", "loss=sparse_categorical_crossentropy"]
WITH_DATA: dict[str, list[str]] = {  # further overrides that a model, an algorithm or a data set needs
    "model=autoencoder": ["algorithm=reconstruct", "loss=mse", "metric=none"],
    "model=cnn": IMAGES,
    "model=gan": ["experiment=gan_digits"],
    "model=pointwise": ["experiment=maml_sinusoids", "data.rows=200"],
    "model=sequence": [*IMAGES, "algorithm=gradient_penalty"],
    "model=sequential": ["model.layers=[{name: dense, units: 3}, gaussian_noise, layer_normalization]"],
    "algorithm=gan": ["experiment=gan_digits"],
    "algorithm=maml": ["experiment=maml_sinusoids", "data.rows=200"],
    "algorithm=reconstruct": ["model=autoencoder", "loss=mse", "metric=none"],
    "algorithm=reinforce": ["experiment=reinforce_cartpole", "data.rows=64", "algorithm.max_episode_steps=20"],
    "data=digits": ["model=linear", *IMAGES[1:]],
    "data=episodes": ["experiment=reinforce_cartpole"],
    "data=sinusoids": ["experiment=maml_sinusoids", "data.rows=200"],
}
NEED_FILES = {"csv", "npz"}
OF_A_TABLE = {"dense_features", "feature_cross"}  # these take a table's columns, and are tested in test_layers.py
NAMES = [
    f"{kind}={name}"
    for kind in contracts.CONTRACTS
    for name in CATALOG.names(kind)
    if not (kind == "layer" and name in OF_A_TABLE)
]


@pytest.fixture(autouse=True)
def no_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips loading in a fresh process, which takes seconds for each layer; the test of the command does it."""
    for module in (contracts, data_contracts):
        monkeypatch.setattr(module, "saved", lambda model, inputs, outputs: contracts.Finding("saved", True))


@pytest.mark.parametrize("word", NAMES)
def test_components_keep_their_contracts(word: str) -> None:
    keras.utils.set_random_seed(0)
    kind, _, name = word.partition("=")
    config = schema.component_alone(kind, {"name": name, **PARAMETERS.get(word, {})}, CATALOG)
    build = build_component if kind == "optimizer" else build_function
    findings = contracts.findings(kind, partial(build, CATALOG, kind, config, kind))
    assert [finding for finding in findings if not finding.kept] == []
    assert len(findings) > (0 if kind == "schedule" else 3)


def broken(kind: str, component: Any) -> list[str]:
    """Returns the promises that a component doesn't keep."""
    return [finding.promise for finding in contracts.findings(kind, component) if not finding.kept]


def test_a_loss_that_mixes_shapes_is_caught() -> None:
    promises = broken("loss", lambda: lambda y_true, y_pred: tf.square(y_pred - y_true[:, 0]))
    assert promises == ["gives each example a value", "an example's value moves with its row"]


def test_a_loss_that_averages_the_batch_is_caught() -> None:
    promises = broken("loss", lambda: lambda y_true, y_pred: tf.reduce_mean(tf.square(y_pred - y_true)))
    assert promises[0] == "gives each example a value"


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
    assert "the result doesn't depend on how rows fall into batches" in promises
    assert "a weight of 2 counts a row twice, 0 leaves it out" in promises
    assert "from_config(get_config()) makes the same again" in promises  # __init__ takes no dtype


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


@pytest.mark.parametrize(
    "word",
    [
        f"{group}={name}"
        for group, kind in (("model", "model"), ("algorithm", "algorithm"), ("data", "dataset"))
        for name in CATALOG.names(kind)
        if name not in NEED_FILES
    ],
)
def test_models_algorithms_and_data_sets_keep_their_contracts(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    exit_code = cli.main(["check", word, *WITH_DATA.get(word, [])])
    output = capsys.readouterr()
    assert (exit_code, output.err) == (0, "")
    assert output.out.splitlines().count(word) == 1
    assert output.out.count("  ok   ") >= 4


def caught(findings: Any) -> list[str]:
    return [finding.promise for finding in contracts.collected(findings) if not finding.kept]


def test_a_model_that_mixes_rows_is_caught() -> None:
    class Centered(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.head = keras.layers.Dense(1)

        def call(self, inputs: Any) -> Any:
            return self.head(inputs - tf.reduce_mean(inputs, axis=0))

    inputs = tf.random.stateless_normal([8, 3], (1, 2))
    assert caught(data_contracts.of_model(Centered, inputs, 1))[0] == "an example's output depends on its own row only"
    assert "gives each example its outputs" in caught(data_contracts.of_model(Centered, inputs, 2))


def test_a_data_set_that_changes_between_reads_is_caught() -> None:
    seeds = iter(range(9))

    def load() -> Table:
        random = np.random.default_rng(next(seeds))
        return Table({"x": random.normal(size=9).astype("float32")}, random.normal(size=9), "y", "regression", "random")

    assert caught(data_contracts.of_dataset(load)) == [
        "columns are float64 without infinity, str objects, or arrays of numbers",
        "read again it is the same",
    ]
