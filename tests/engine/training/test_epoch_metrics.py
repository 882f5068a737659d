"""The mean loss and the metrics of an epoch, computed by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.data.targets import TargetScale
from tfrun.engine.training.epoch_metrics import EpochMetrics, read_and_reset, restore


def mae(name: str = "mae") -> keras.metrics.Metric:
    return keras.metrics.MeanAbsoluteError(name=name)


def test_metrics_are_in_the_unit_of_the_target() -> None:
    metrics = EpochMetrics([mae()], {"output": TargetScale(100.0, 5.0)})
    metrics.update(tf.constant([[0.0], [1.0]]), tf.constant([[2.0], [0.0]]), None)
    assert float(metrics.metrics[0].result()) == pytest.approx(5 * (2 + 1) / 2)


def test_differences_far_from_0_keep_their_digits() -> None:
    far = {"output": TargetScale(1.7e9, 100.0)}
    metrics = EpochMetrics([keras.metrics.MeanAbsoluteError(name="mae", dtype="float64")], far)
    metrics.update(tf.constant([[0.0], [1.0]]), tf.constant([[0.25], [0.875]]), None)
    assert float(metrics.metrics[0].result()) == pytest.approx(100 * (0.25 + 0.125) / 2, rel=1e-6)
    assert restore(TargetScale(1.7e9, 100.0, exact=False), tf.constant([[0.25]])).dtype == tf.float32


def test_a_metric_that_cannot_compute_in_float64_gets_float32() -> None:
    metrics = EpochMetrics([mae()], {"output": TargetScale(1e4, 10.0)}, rounding=["mae"])
    metrics.update(tf.constant([[0.0]]), tf.constant([[0.5]]), None)
    assert float(metrics.metrics[0].result()) == 5.0


def test_half_precision_ends_before_the_targets_unit() -> None:
    y_pred = tf.constant([[0.25]], tf.bfloat16)
    assert float(restore(TargetScale(1000.0, 5.0), y_pred)[0, 0]) == 1001.25  # 1000 in bfloat16


def test_float64_has_the_scale_in_float64() -> None:
    third = tf.constant([[1.0]], tf.float64)
    assert float(restore(TargetScale(0.1, 1 / 3), third)[0, 0]) == pytest.approx(0.1 + 1 / 3, rel=1e-15)
    earlier = restore(TargetScale(0.1, 1 / 3, exact=False), third)
    assert float(earlier[0, 0]) == float(np.float32(1 / 3)) + float(np.float32(0.1))


def test_rows_are_weighted() -> None:
    metrics = EpochMetrics([mae()], {"output": TargetScale()})
    metrics.update(tf.constant([[0.0], [0.0]]), tf.constant([[2.0], [6.0]]), tf.constant([3.0, 1.0]))
    assert float(metrics.metrics[0].result()) == pytest.approx((3 * 2 + 6) / 4)


def test_each_metric_measures_its_output() -> None:
    scales = {"output": TargetScale(), "second": TargetScale(0.0, 10.0)}
    metrics = EpochMetrics([mae("first"), mae("other")], scales, outputs=["output", "second"])
    y = {"output": tf.constant([[1.0]]), "second": tf.constant([[1.0]])}
    y_pred = {"output": tf.constant([[3.0]]), "second": tf.constant([[1.5]])}
    metrics.update(y, y_pred, None)
    assert [float(metric.result()) for metric in metrics.metrics] == [2.0, 5.0]


def test_an_output_without_a_target_has_the_scale_of_the_main_one() -> None:
    metrics = EpochMetrics([mae()], {"output": TargetScale(0.0, 4.0)}, outputs=["auxiliary"])
    y_pred = {"output": tf.constant([[0.0]]), "auxiliary": tf.constant([[1.0]])}
    metrics.update(tf.constant([[0.5]]), y_pred, None)
    assert float(metrics.metrics[0].result()) == 2.0


def test_reading_resets_all_of_them() -> None:
    metrics = EpochMetrics([mae()], {"output": TargetScale()})
    metrics.loss_mean.update_state([1.0, 2.0])
    metrics.update(tf.constant([[0.0]]), tf.constant([[4.0]]), None)
    own = keras.metrics.Mean("own")
    own.update_state(7.0)
    values = read_and_reset(metrics, [own], has_weight=tf.constant(True))
    assert (values.numpy().tolist(), values.dtype) == ([1.5, 4.0, 7.0], tf.float32)
    assert np.isnan(read_and_reset(metrics, [own], has_weight=tf.constant(True))).all()
    assert len(metrics.variables) == 4  # total and count of each


def test_without_any_weight_a_metric_of_whatever_kind_is_not_defined() -> None:
    class Constant(keras.metrics.Metric):
        def update_state(self, y: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor) -> None: ...

        def result(self) -> tf.Tensor:
            return tf.constant(3.0)

    metrics, own = EpochMetrics([Constant()], {"output": TargetScale()}), keras.metrics.Sum("own")
    own.update_state(7.0)
    values = read_and_reset(metrics, [own], has_weight=tf.constant(False))
    np.testing.assert_array_equal(values, [np.nan, np.nan, 7.0])
