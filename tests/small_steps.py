"""Training steps over small Keras models, built without any config, for the fixture `build`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.components.algorithms.supervised import Supervised
from tfrun.data.targets import TargetScale
from tfrun.engine.training.groups import Group
from tfrun.engine.training.step import Step


def squared(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """(B, 1), (B, 1) -> (B,)."""
    return tf.reduce_sum(tf.square(y_pred - y_true), axis=-1)


def group(
    variables: Sequence[keras.Variable],
    rate: float,
    name: str = "all",
    optimizer: type[keras.optimizers.Optimizer] = keras.optimizers.SGD,
    **options: Any,
) -> Group:
    """A group with its own optimizer, SGD unless told."""
    own = optimizer(rate)
    own.build(variables)
    return Group(name, list(variables), own, base_learning_rate=tf.Variable(rate, trainable=False), **options)


def linear(kernel: Sequence[float], bias: float) -> keras.Model:
    """y = x·kernel + bias."""
    model = keras.Sequential([keras.Input((len(kernel),)), keras.layers.Dense(1, name="output")])
    model.layers[0].set_weights([np.array(kernel)[:, None], np.array([bias])])
    return model


@dataclass(frozen=True)
class Build:
    """The builders, since test modules can't import each other."""

    linear: Callable[..., keras.Model] = linear
    group: Callable[..., Group] = group

    def step(
        self, model: keras.Model, groups: Sequence[Group], target: TargetScale | None = None, **options: Any
    ) -> Step:
        """A step with the squared error as its loss and the mean absolute error as its metric."""
        return Step(
            tf.distribute.get_strategy(),
            model,
            Supervised(),
            squared,
            groups,
            keras.metrics.Mean("loss"),
            [keras.metrics.MeanAbsoluteError(name="mae")],
            target or TargetScale(),
            **options,
        )
