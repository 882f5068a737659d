"""Models, data sets and algorithms that break their contracts."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.algorithms.supervised import Supervised
from tfrun.data.table import Table
from tfrun.engine.verify import data_contracts
from tfrun.engine.verify.findings import Finding, collect
from tfrun.protocols import AlgorithmOffer


@pytest.fixture(autouse=True)
def _no_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips loading in a new process, which takes seconds; `test_findings.py` tests it."""
    monkeypatch.setattr(data_contracts, "check_saved", lambda model, inputs, *, outputs: Finding("saved", True))


def broken(findings: Any) -> list[str]:
    return [finding.promise for finding in collect(findings) if not finding.kept]


def test_a_model_that_mixes_rows_is_caught() -> None:
    class Centered(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.head = keras.layers.Dense(1)

        def call(self, inputs: Any) -> Any:
            return self.head(inputs - tf.reduce_mean(inputs, axis=0))

    inputs = tf.random.stateless_normal([8, 3], (1, 2))
    promises = broken(data_contracts.check_model(Centered, inputs, num_outputs=1))
    assert promises[0] == "an example's output depends only on its own row"
    promises = broken(data_contracts.check_model(Centered, inputs, num_outputs=2))
    assert "returns the outputs that the target needs" in promises


def test_a_data_set_that_changes_between_reads_is_caught() -> None:
    seeds = iter(range(9))

    def load() -> Table:
        random = np.random.default_rng(next(seeds))
        return Table({"x": random.normal(size=9).astype("float32")}, random.normal(size=9), "y", "regression", "random")

    assert broken(data_contracts.check_dataset(load)) == [
        "columns are float64 without infinity, str objects, or arrays of numbers",
        "read again, it is the same",
    ]


def test_a_data_set_with_rows_missing_is_caught() -> None:
    def load() -> Table:
        return Table({"x": np.zeros(3), "y": np.array([1.0, np.inf])}, np.zeros(3), "t", "classification", "here")

    assert broken(data_contracts.check_dataset(load)) == [
        "every column has a row for each target",
        "columns are float64 without infinity, str objects, or arrays of numbers",
        "the target is (N,) object",
    ]


def test_an_algorithm_that_changes_the_weights_is_caught(build: Any) -> None:
    class Moves(Supervised):
        def forward(self, model: Any, loss: Any, x: Any, y: Any) -> Any:
            model.trainable_variables[0].assign_add([[0.5]])
            return super().forward(model, loss, x, y)

        def evaluate(self, model: Any, loss: Any, x: Any, y: Any) -> Any:
            y_pred = model(x, training=False)
            return tf.reduce_mean(loss(y, y_pred)), y_pred

    model = build.linear([0.5], 0.25)
    step = build.step(model, [build.group(model.trainable_variables, 0.1)])
    batch = (np.ones([4, 1], "float32"), np.ones([4, 1], "float32"), ())

    def promises() -> list[str]:
        return broken(data_contracts.check_algorithm(step, batch))

    assert promises() == []
    step.algorithm = AlgorithmOffer.of(Moves())
    assert promises() == [
        "forward doesn't change the trained weights",
        "from the same state, forward returns the same again",
        "evaluate returns a loss for each example",
    ]
