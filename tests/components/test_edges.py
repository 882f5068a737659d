"""Losses and metrics where formulas break: error 0, p = 0 and 1, ties, one class, a constant target, weight 0.

Each row has the value and the gradient (of a loss, by y_pred), worked out by hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.losses import adversarial, classification, combined, regression
from tfrun.components.metrics import classification as classes
from tfrun.components.metrics import regression as numbers

LOG_2 = float(np.log(2.0))
SMALL = float(np.exp(-20.0))
# loss, y_true, y_pred (an error, a logit or several), value, gradient by y_pred
LOSSES: list[tuple[Any, float, list[float], float, list[float]]] = [
    (regression.Huber(), 0.0, [0.0], 0.0, [0.0]),
    (regression.Huber(delta=2.0), 0.0, [2.0], 2.0, [2.0]),  # where the two branches meet
    (regression.Huber(delta=2.0), 0.0, [-2.0], 2.0, [-2.0]),
    (regression.Huber(), 0.0, [1e30], 1e30, [1.0]),
    (regression.MeanSquaredError(), 3.0, [3.0], 0.0, [0.0]),
    (regression.MeanAbsoluteError(), 3.0, [3.0], 0.0, [0.0]),
    (regression.MeanAbsoluteError(), 0.0, [-1e38], 1e38, [-1.0]),
    (regression.LogCosh(), 0.0, [0.0], 0.0, [0.0]),
    (regression.LogCosh(), 0.0, [1e-3], 5e-7, [1e-3]),
    (regression.LogCosh(), 0.0, [-1e30], 1e30, [-1.0]),
    (regression.Quantile(0.9), 0.0, [1e-30], 1e-31, [0.1]),  # 1 − q above the target
    (regression.Quantile(0.9), 0.0, [-1e-30], 9e-31, [-0.9]),
    (classification.BinaryCrossentropy(), 1.0, [0.0], LOG_2, [-0.5]),
    (classification.BinaryCrossentropy(), 1.0, [1000.0], 0.0, [0.0]),  # p = 1, and right
    (classification.BinaryCrossentropy(), 1.0, [-1000.0], 1000.0, [-1.0]),  # p = 0, and wrong
    (classification.BinaryCrossentropy(), 0.0, [1000.0], 1000.0, [1.0]),
    (classification.BinaryCrossentropy(), 0.0, [-1000.0], 0.0, [0.0]),
    (classification.BinaryCrossentropy(0.2), 1.0, [1000.0], 100.0, [0.1]),  # the smoothed label is 0.9
    (classification.SparseCategoricalCrossentropy(), 0.0, [0.0, 0.0, 0.0], float(np.log(3)), [-2 / 3, 1 / 3, 1 / 3]),
    (classification.SparseCategoricalCrossentropy(), 0.0, [1000.0, 0.0, 0.0], 0.0, [0.0, 0.0, 0.0]),
    (classification.SparseCategoricalCrossentropy(), 1.0, [1000.0, 0.0, 0.0], 1000.0, [1.0, -1.0, 0.0]),
    (classification.SparseCategoricalCrossentropy(0.3), 0.0, [900.0, 0.0, 0.0], 180.0, [0.2, -0.1, -0.1]),
    (classification.Focal(), 1.0, [0.0], 0.25 * LOG_2, [-0.125 - 0.25 * LOG_2]),  # −½·¼ − ½·(½·log 2)
    (classification.Focal(), 1.0, [1000.0], 0.0, [0.0]),
    (classification.Focal(), 1.0, [-1000.0], 1000.0, [-1.0]),
    (classification.Focal(gamma=0.5), 1.0, [1000.0], 0.0, [0.0]),  # the power of 0 has an infinite slope
    (classification.Focal(gamma=0.0), 0.0, [1000.0], 1000.0, [1.0]),
    (classification.Focal(gamma=1.0), 1.0, [20.0], SMALL**2, [-2 * SMALL**2]),  # (1 − p)·(−log p), 1 − p = e⁻²⁰
    (classification.Focal(alpha=0.25), 0.0, [1000.0], 750.0, [0.75]),
    (classification.Focal(), 1.0, [1000.0, 0.0, 0.0], 1000.0, [1.0, -1.0, 0.0]),
    (classification.Focal(), 0.0, [1000.0, 0.0, 0.0], 0.0, [0.0, 0.0, 0.0]),
    (adversarial.Wasserstein(), 1.0, [0.0], 0.0, [-1.0]),
    (adversarial.Wasserstein(), 0.0, [5.0], 5.0, [1.0]),
    (combined.WeightedSum({"a": regression.Huber(), "b": regression.MeanSquaredError()}, {"b": 0.0}), 0.0, [0.0], 0.0,
     [0.0]),
]  # fmt: skip


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_and_their_gradients(dtype: str, jit_compile: bool) -> None:
    @tf.function(jit_compile=jit_compile)
    def all_of_them() -> list[tuple[tf.Tensor, tf.Tensor]]:
        found = []
        for loss, label, outputs, _, _ in LOSSES:
            y_true, y_pred = tf.constant([[label]], dtype), tf.constant([outputs], dtype)
            with tf.GradientTape() as tape:
                tape.watch(y_pred)
                value = loss.call(y_true, y_pred)
            found.append((value, tape.gradient(value, y_pred)))
        return found

    for (loss, label, outputs, value, gradient), (got, slope) in zip(LOSSES, all_of_them(), strict=True):
        named = f"{loss.name}({label}, {outputs})"
        # a result near 0 of numbers near 1 has their rounding, 1e-7 in float32
        np.testing.assert_allclose(got, [value], rtol=1e-5, atol=2e-7, err_msg=named)
        np.testing.assert_allclose(slope, [gradient], rtol=1e-5, atol=2e-7, err_msg=named)


def test_the_quantile_of_an_error_of_0_has_a_slope_between_those_beside_it() -> None:
    y_pred = tf.constant([[0.0]])
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = regression.Quantile(0.9).call(tf.constant([[0.0]]), y_pred)
    assert float(value[0]) == 0.0 and -0.9 <= float(tape.gradient(value, y_pred)[0, 0]) <= 0.1


BIG = 1e300
# metric, y_true, y_pred, weights, result; logits of ±1000 are p = 1 and 0
METRICS: list[tuple[Any, list[float], list[float], list[float] | None, float]] = [
    (numbers.MeanAbsoluteError(), [3.0], [3.0], None, 0.0),
    (numbers.MeanAbsoluteError(), [0.0, 0.0], [2.0, BIG], [1.0, 0.0], 2.0),
    (numbers.MeanSquaredError(), [0.0, 1.0], [0.0, 1.0], None, 0.0),
    (numbers.RootMeanSquaredError(), [5.0], [5.0], None, 0.0),
    (numbers.RootMeanSquaredError(), [0.0, 0.0], [3.0, 1e100], [1.0, 0.0], 3.0),
    (numbers.MeanAbsolutePercentageError(), [0.0], [0.0], None, 0.0),
    (numbers.MeanAbsolutePercentageError(), [0.0], [1e-7], None, 100.0),  # a target of 0 counts as 1e-7
    (numbers.MeanAbsolutePercentageError(), [-2.0], [-1.0], None, 50.0),
    (numbers.Huber(delta=0.1), [0.0], [0.1], None, 0.005),  # where the two branches meet
    (numbers.Huber(delta=0.1), [0.0], [0.0], None, 0.0),
    (numbers.R2(), [0.1, 0.1, 0.1], [0.1, 0.1, 0.1], [1.0, 0.7, 0.3], 1.0),  # a constant has only rounding around it
    (numbers.R2(), [0.1, 0.1, 0.1], [0.1, 0.1, 0.2], [1.0, 0.7, 0.3], 0.0),
    (numbers.R2(), [1e9, 1e9 + 1], [1e9, 1e9 + 1], None, 1.0),
    (numbers.R2(), [1e9, 1e9 + 1], [1e9 + 1, 1e9], None, -3.0),  # 1 − 2/0.5
    (classes.Accuracy(), [0.0, 1.0], [0.0, 0.0], None, 0.5),  # a logit of 0 is class 0
    (classes.Accuracy(), [0.0, 1.0], [-1000.0, 1000.0], None, 1.0),
    (classes.Precision(), [0.0, 1.0], [1000.0, 1000.0], None, 0.5),
    (classes.Precision(), [0.0, 1.0], [0.0, 0.0], None, 0.0),  # nothing is predicted 1
    (classes.Precision(threshold=0.0), [0.0, 1.0], [-1000.0, -20.0], None, 1.0),  # above 0, p = 0 isn't
    (classes.Recall(), [1.0, 1.0], [1000.0, -1000.0], None, 0.5),
    (classes.Recall(), [1.0, 1.0], [1000.0, -1000.0], [1.0, 0.0], 1.0),
    (classes.AUC(), [0.0, 1.0], [-1000.0, 1000.0], None, 1.0),  # p = 0 and 1 are in the outer bins
    (classes.AUC(), [0.0, 1.0], [1000.0, -1000.0], None, 0.0),
    (classes.AUC(), [0.0, 1.0], [1000.0, 1000.0], None, 0.5),  # a tie
    (classes.FBeta(beta=2.0), [1.0, 1.0], [1000.0, 1000.0], None, 1.0),
    (classes.FBeta(beta=0.1), [1.0, 0.0], [1000.0, 1000.0], None, 1.01 / 2.01),
    (classes.FBeta(), [1.0, 1.0], [-1000.0, -1000.0], None, 0.0),
    (classes.CalibrationError(), [1.0, 0.0], [1000.0, -1000.0], None, 0.0),  # p = 1 is in the last bin
    (classes.CalibrationError(), [0.0, 0.0], [1000.0, 1000.0], None, 1.0),
    (classes.CalibrationError(), [0.0, 1.0], [0.0, 0.0], None, 0.0),  # p = 1/2, and half of them are right
    (classes.ConfusionMatrix(), [1.0, 1.0], [1000.0, -1000.0], None, 0.5),  # the other class is left out
    (classes.ConfusionMatrix(), [0.0, 1.0], [0.0, 1000.0], [1.0, 0.0], 1.0),
]  # fmt: skip


@pytest.mark.parametrize("in_batches", [False, True], ids=["at once", "row by row"])
@pytest.mark.parametrize(("metric", "y_true", "y_pred", "weights", "result"), METRICS)
def test_metrics(
    metric: Any, y_true: list[float], y_pred: list[float], weights: list[float] | None, result: float, in_batches: bool
) -> None:
    metric.reset_state()
    y, p = (np.array(values)[:, None] for values in (y_true, y_pred))
    w = None if weights is None else np.array(weights)
    for rows in [slice(k, k + 1) for k in range(len(y))] if in_batches else [slice(None)]:
        metric.update_state(y[rows], p[rows], sample_weight=None if w is None else w[rows])
    # a result is a float32; in float64 it is right to more digits
    assert float(metric.result()) == pytest.approx(result, rel=1e-7, abs=1e-12)
