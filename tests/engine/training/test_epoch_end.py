"""The end of an epoch, on y = x·w + b by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.data.targets import TargetScale
from tfrun.engine.training.averages import AveragedWeights
from tfrun.engine.training.epoch_end import EpochEnd
from tfrun.engine.training.step import StepOptions
from tfrun.engine.training.tracker import Tracker
from tfrun.engine.training.vectorize import ALONE

X = tf.constant([[1.0], [2.0], [3.0], [4.0]])
Y = tf.constant([[1.0], [1.0], [1.0], [1.0]])  # with w = 1 and b = 0 the errors are 0, 1, 2, 3


def make(build: Any, *, best: Tracker | None = None, stopper: Tracker | None = None) -> tuple[EpochEnd, keras.Model]:
    """Returns the end of an epoch at step 30."""
    model = build.linear([1.0], 0.0)
    step = build.step(model, [build.group(model.trainable_variables, 0.1)])
    step_count = keras.Variable(30, dtype="int64", trainable=False)
    metrics = build.metrics(TargetScale(0.0, 10.0))
    return EpochEnd(step, metrics, step_count=step_count, best=best, stopper=stopper), model


def evaluate(epoch_end: EpochEnd, rows: list[int], weights: Any = ()) -> list[float]:
    """Returns the mean loss and error of some rows, evaluated two at a time."""
    epoch_end.evaluate(ALONE, True, data=(X, Y, weights), rows=tf.constant(rows), size=2)
    return epoch_end.read().numpy().tolist()


def test_any_number_of_rows_is_evaluated(build: Any) -> None:
    epoch_end, _ = make(build)
    assert epoch_end.names == ["loss", "mae"]
    assert evaluate(epoch_end, [1, 3, 2]) == pytest.approx([(1 + 9 + 4) / 3, 10 * (1 + 3 + 2) / 3])
    assert evaluate(epoch_end, [1]) == [1.0, 10.0]  # nothing is left of the rows before
    assert evaluate(epoch_end, [0, 1, 2, 3]) == [(0 + 1 + 4 + 9) / 4, 10 * (0 + 1 + 2 + 3) / 4]


class Energy(keras.layers.Layer):
    """Adds the mean of x² over the batch to the loss, and reports it."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = keras.metrics.Mean("energy")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        energy = tf.reduce_mean(tf.square(x))
        self.add_loss(energy)
        self.energy.update_state(energy, sample_weight=tf.cast(tf.shape(x)[0], energy.dtype))
        return x


@pytest.mark.parametrize("rows", [[1, 3, 2], [3], [0, 1, 2, 3], [2, 1, 3, 0, 3]])
def test_what_a_model_computes_over_a_batch_sees_each_row_once(rows: list[int], build: Any) -> None:
    model = keras.Sequential([keras.Input((1,)), Energy(), *build.linear([1.0], 0.0).layers])
    step = build.step(model, [build.group(model.trainable_variables, 0.1)])
    count = keras.Variable(0, dtype="int64", trainable=False)
    epoch_end = EpochEnd(step, build.metrics(), step_count=count, best=None, stopper=None)
    assert epoch_end.names == ["loss", "mae", "energy"]
    x = np.array(rows) + 1.0
    energy = np.mean(x**2)
    assert evaluate(epoch_end, rows) == pytest.approx([np.mean((x - 1) ** 2) + energy, np.mean(x - 1), energy])


def test_rows_are_weighted(build: Any) -> None:
    epoch_end, _ = make(build)
    weights = tf.constant([1.0, 3.0, 1.0, 1.0])
    loss, mae = evaluate(epoch_end, [1, 2], weights)
    assert loss == (3 * 1 + 4) / 2  # weights multiply losses
    assert mae == 10 * (3 * 1 + 2) / 4  # and weight metrics


def test_rows_without_weight_give_no_values(build: Any) -> None:
    epoch_end, _ = make(build)
    weights = tf.constant([0.0, 0.0, 2.0, 2.0])
    assert np.isnan(evaluate(epoch_end, [0, 1, 0], weights)).all()
    assert evaluate(epoch_end, [0, 2, 1], weights) == pytest.approx([2 * 4 / 3, 10 * 2])


def end_epoch(epoch_end: EpochEnd, train_loss: float, val_loss: float) -> tuple[bool, bool]:
    """Ends an epoch with given losses; returns whether it is the best so far, and whether to stop."""
    epoch_end.begin_validation()
    epoch_end.val_metrics.loss_mean.update_state(val_loss)
    epoch_end.val_variables[-1].assign(1.0)  # the weight of the rows
    epochs, stop = epoch_end.end_epoch(tf.constant([train_loss, 0.0]))
    np.testing.assert_array_equal(epochs.train, [train_loss, 0.0])
    np.testing.assert_array_equal(epochs.val, [val_loss, np.nan])
    return bool(epochs.improved), bool(stop)


def test_the_weights_of_the_best_epoch_are_kept(build: Any) -> None:
    best = Tracker("val/loss", "min")
    epoch_end, model = make(build, best=best)
    for weight, val_loss, is_best in ((2.0, 5.0, True), (3.0, 6.0, False), (4.0, np.nan, False)):
        model.set_weights([np.array([[weight]]), np.zeros(1)])
        assert end_epoch(epoch_end, 1.0, val_loss) == (is_best, False)
    assert epoch_end.best_weights[0].numpy().tolist() == [[2.0]]
    assert int(best.best_step.numpy()) == 30


def test_a_training_metric_may_be_monitored(build: Any) -> None:
    epoch_end, _ = make(build, best=Tracker("train/loss", "min"))
    assert [end_epoch(epoch_end, loss, 1.0)[0] for loss in (3.0, 2.0, 2.5)] == [True, True, False]


def test_early_stopping_asks_to_stop(build: Any) -> None:
    epoch_end, _ = make(build, stopper=Tracker("val/loss", "min", patience=1))
    assert [end_epoch(epoch_end, 1.0, loss)[1] for loss in (3.0, 2.0, 2.5)] == [False, False, True]
    assert epoch_end.best_weights == []


def test_validation_uses_the_averaged_weights(build: Any) -> None:
    model = build.linear([1.0], 0.0)
    averages = AveragedWeights(model.trainable_variables, 0.5)
    step = build.step(model, [build.group(model.trainable_variables, 0.1)], options=StepOptions(averages=averages))
    count = keras.Variable(0, dtype="int64", trainable=False)
    epoch_end = EpochEnd(step, build.metrics(), step_count=count, best=None, stopper=None)
    averages.variables[0].assign([[2.0]])
    epoch_end.begin_validation()
    assert evaluate(epoch_end, [0, 1])[0] == (1 + 9) / 2  # errors of w = 2
    epoch_end.end_epoch(tf.constant([0.0, 0.0]))
    assert model.trainable_variables[0].numpy().tolist() == [[1.0]]


def test_a_new_run_forgets_the_one_before(build: Any) -> None:
    epoch_end, model = make(build, best=Tracker("val/loss", "min"))
    epoch_end.val_metrics.loss_mean.update_state(5.0)
    model.set_weights([np.array([[7.0]]), np.zeros(1)])
    epoch_end.start()
    assert epoch_end.best_weights[0].numpy().tolist() == [[7.0]]
    assert evaluate(epoch_end, [0, 0])[0] == 36.0
