"""Losses and metrics that keep their contracts in unusual ways; `test_wrong_components.py` has those that don't."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.engine.verify.findings import collect
from tfrun.engine.verify.loss_contracts import check_loss, check_metric


def test_a_loss_may_branch_on_a_tensor() -> None:
    def doubled_below_0(y_true: Any, y_pred: Any) -> Any:
        error = tf.reduce_sum(tf.square(y_pred - y_true), axis=-1)
        if tf.reduce_any(tf.math.is_nan(error)):  # AutoGraph makes an operation of it, as in a run
            error = tf.zeros_like(error)
        return error

    findings = collect(check_loss(lambda: doubled_below_0))
    assert [finding for finding in findings if not finding.kept] == []


def test_a_loss_and_a_metric_in_float64() -> None:
    keras.config.set_floatx("float64")
    try:
        findings = collect(check_loss(keras.losses.MeanSquaredError))
        findings += collect(check_metric(keras.metrics.MeanAbsoluteError))
    finally:
        keras.config.set_floatx("float32")
    assert len(findings) > 15
    broken = [finding.promise for finding in findings if not finding.kept]
    assert broken == ["Keras finds its class when it loads a model"] * 2  # these are registered as Keras' own


def test_a_metric_that_is_not_finite_is_caught() -> None:
    class Undefined(keras.metrics.MeanAbsoluteError):
        def result(self) -> Any:
            return tf.constant(np.nan)

    (finding,) = [finding for finding in collect(check_metric(Undefined)) if not finding.kept]
    assert (finding.promise, finding.numbers) == ("result is a finite number", "nan")
