"""Results of Keras' metrics that have no value."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from tfrun.engine.training.undefined import value_of

NAN = np.nan


@pytest.mark.parametrize(
    ("make", "labels", "predictions", "weights", "expected"),
    [
        (keras.metrics.AUC, [1, 1], [0.2, 0.9], None, NAN),
        (keras.metrics.AUC, [0, 0], [0.2, 0.9], None, NAN),
        (keras.metrics.AUC, [0, 1], [0.2, 0.9], None, 1.0),
        (keras.metrics.AUC, [0, 1], [0.2, 0.9], [0.0, 1.0], NAN),
        (keras.metrics.Recall, [0, 0], [0.2, 0.9], None, NAN),
        (keras.metrics.Recall, [0, 1], [0.2, 0.3], None, 0.0),
        (keras.metrics.Precision, [0, 1], [0.2, 0.3], None, 0.0),  # it could have predicted otherwise
        (keras.metrics.BinaryAccuracy, [0, 1], [0.2, 0.3], [0.0, 0.0], NAN),
        (keras.metrics.BinaryAccuracy, [0, 1], [0.7, 0.3], None, 0.0),
        (keras.metrics.MeanSquaredError, [0, 1], [0.0, 3.0], None, 2.0),
        (keras.metrics.FalsePositives, [0, 1], [0.2, 0.9], None, 0.0),
    ],
)
def test_a_metric_of_keras(make: Any, labels: Any, predictions: Any, weights: Any, expected: float) -> None:
    metric = make()
    metric.update_state(labels, predictions, sample_weight=weights)
    np.testing.assert_allclose(value_of(metric), expected)


def test_a_mean_of_nothing() -> None:
    assert np.isnan(value_of(keras.metrics.Mean())) and np.isnan(value_of(keras.metrics.MeanAbsoluteError()))
    assert float(value_of(keras.metrics.Sum())) == 0.0
