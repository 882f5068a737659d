"""One device is one replica; tests/end_to_end/test_mirrored.py has two."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrun.engine.training.replicas import components, has_parts, synchronize


def test_one_device_has_one_part_of_everything() -> None:
    strategy = tf.distribute.get_strategy()
    counter = keras.Variable(3.0, trainable=False)
    raw = tf.Variable(4.0)
    synchronize(strategy, [counter, raw])
    assert [float(part) for part in components(strategy, counter)] == [3.0]
    assert [float(part) for part in components(strategy, raw)] == [4.0]


def test_the_totals_of_metrics_are_in_parts() -> None:
    layer = keras.layers.BatchNormalization()
    layer.build((None, 2))
    assert all(map(has_parts, keras.metrics.Mean().variables))
    assert not any(map(has_parts, [*layer.variables, tf.Variable(1.0)]))
