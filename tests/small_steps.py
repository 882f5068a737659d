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
from tfrun.engine.training.epoch_metrics import EpochMetrics
from tfrun.engine.training.groups import Group
from tfrun.engine.training.step import Step, StepOptions
from tfrun.protocols import MAIN_OUTPUT, AlgorithmOffer


def squared(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """Returns the squared error: (B, 1), (B, 1) → (B,)."""
    return tf.reduce_sum(tf.square(y_pred - y_true), axis=-1)


def group(
    variables: Sequence[keras.Variable],
    rate: float,
    name: str = "all",
    optimizer: type[keras.optimizers.Optimizer] = keras.optimizers.SGD,
    **options: Any,
) -> Group:
    """Returns a group with a new optimizer."""
    built = optimizer(rate)
    built.build(variables)
    rate_variable = tf.Variable(rate, trainable=False)
    return Group(name, list(variables), optimizer=built, base_learning_rate=rate_variable, **options)


def linear(kernel: Sequence[float], bias: float) -> keras.Model:
    """Returns the model y = x·kernel + bias."""
    model = keras.Sequential([keras.Input((len(kernel),)), keras.layers.Dense(1, name="output")])
    model.layers[0].set_weights([np.array(kernel)[:, None], np.array([bias])])
    return model


def metrics(target: TargetScale = TargetScale()) -> EpochMetrics:  # noqa: B008 (frozen)
    """Returns the mean loss and the mean absolute error of a target with this scale."""
    return EpochMetrics([keras.metrics.MeanAbsoluteError(name="mae")], {MAIN_OUTPUT: target})


@dataclass(frozen=True)
class Build:
    """The builders, since test modules can't import each other."""

    linear: Callable[..., keras.Model] = linear
    group: Callable[..., Group] = group
    metrics: Callable[..., EpochMetrics] = metrics

    def step(
        self,
        model: keras.Model,
        groups: Sequence[Group],
        *,
        target: TargetScale = TargetScale(),  # noqa: B008 (frozen)
        loss: Callable[..., tf.Tensor] = squared,
        algorithm: Any = None,
        options: StepOptions = StepOptions(),  # noqa: B008
    ) -> Step:
        """Returns a step with the mean absolute error as its metric."""
        return Step(
            tf.distribute.get_strategy(),
            model,
            algorithm=AlgorithmOffer.of(algorithm or Supervised()),
            loss=loss,
            groups=groups,
            metrics=metrics(target),
            options=options,
        )
