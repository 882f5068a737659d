"""The mean loss and the metrics of an epoch, computed by hand."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf

from tfrun.data.targets import TargetScale
from tfrun.engine.training.epoch_metrics import EpochMetrics, read_and_reset


def mae(name: str = "mae") -> keras.metrics.Metric:
    return keras.metrics.MeanAbsoluteError(name=name)


def test_metrics_are_in_the_unit_of_the_target() -> None:
    metrics = EpochMetrics([mae()], {"output": TargetScale(100.0, 5.0)})
    metrics.update(tf.constant([[0.0], [1.0]]), tf.constant([[2.0], [0.0]]), None)
    assert float(metrics.metrics[0].result()) == pytest.approx(5 * (2 + 1) / 2)


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
    values = read_and_reset(metrics.all)
    assert (values.numpy().tolist(), values.dtype) == ([1.5, 4.0], tf.float32)
    assert read_and_reset(metrics.all).numpy().tolist() == [0.0, 0.0]
    assert len(metrics.variables) == 4  # total and count of each
