"""The rows and the operation to blame for numbers that aren't finite."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import tensorflow as tf

from tfrun.engine.training.step import Step
from tfrun.engine.verify.diagnosis import Diagnosis, diagnose

DATA = (tf.constant([[1.0], [-1.0], [2.0]]), tf.zeros([3, 1]), ())
BATCH = tf.constant([2, 0, 1])  # rows of DATA
NUMBERS = np.array([12, 10, 11])  # the same rows in the data set


def log_loss(y_true: Any, y_pred: Any) -> Any:
    return -tf.reduce_sum(tf.math.log(y_pred), axis=-1)


def root_loss(y_true: Any, y_pred: Any) -> Any:
    return tf.reduce_sum(tf.sqrt(tf.nn.relu(y_pred)), axis=-1)


def step_with(build: Any, loss: Any) -> Step:
    """Returns a step of y = x."""
    model = build.linear([1.0], 0.0)
    return build.step(model, [build.group(model.trainable_variables, 0.1)], loss=loss)


def diagnosis_of(step: Step) -> Diagnosis:
    return diagnose(step, DATA, batch=BATCH, numbers=NUMBERS)


def test_the_row_and_the_operation_are_found(build: Any) -> None:
    step = step_with(build, log_loss)
    cause = diagnosis_of(step)
    assert cause.rows == [11]  # log(−1)
    _, line = inspect.getsourcelines(log_loss)
    assert cause.tensor == f"the output of Log, {__file__}:{line + 1}"


def test_the_step_is_left_unchanged(build: Any) -> None:
    step = step_with(build, log_loss)
    diagnosis_of(step)
    assert step.loss is log_loss
    assert [float(np.ravel(v.numpy())[0]) for v in step.model.trainable_variables] == [1.0, 0.0]


def test_a_gradient_that_is_not_finite_blames_the_whole_batch(build: Any) -> None:
    cause = diagnosis_of(step_with(build, root_loss))  # d√relu(−1) = ∞·0
    assert cause.rows == [12, 10, 11]
    assert cause.tensor.endswith("on the way back through the gradient")


def test_numbers_that_are_finite_in_python_are_reported(build: Any) -> None:
    cause = diagnosis_of(step_with(build, lambda y, y_pred: tf.reduce_sum(y_pred, -1)))
    assert cause.rows == [12, 10, 11]
    assert "only the compiled one isn't finite" in cause.tensor
