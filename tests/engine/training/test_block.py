"""The graph of a block, called without a program: y = w·x by hand, a row a step, two steps an epoch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training.block import BlockGraph, BlockValues, Span, Validation
from tfrun.engine.training.epoch_end import EpochEnd
from tfrun.engine.training.feed import Selection
from tfrun.engine.training.rows import Tracing
from tfrun.engine.training.tracker import Tracker
from tfrun.engine.training.vectorize import ALONE

DATA = (tf.constant([[1.0], [2.0], [np.inf]]), tf.constant([[1.0], [0.0], [0.0]]), ())
ROWS = [0, 1, 1, 0, 0, 0]
NO_ROWS = Validation(None, 1)


def by_hand(rows: list[int], w: float = 0.0) -> list[float]:
    """Returns the loss of each step, w being updated by 0.1 times the gradient 2·e·x, and w after all."""
    losses = []
    for row in rows:
        x, y = float(DATA[0][row, 0]), float(DATA[1][row, 0])
        losses.append((w * x - y) ** 2)
        w -= 0.1 * 2 * (w * x - y) * x
    return [*losses, w]


def make(build: Any, *, patience: int | None = None) -> tuple[BlockGraph, keras.Model]:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    step = build.step(model, [build.group(model.trainable_variables, 0.1)])
    count = keras.Variable(0, dtype="int64", trainable=False)
    stopper = Tracker("val/loss", "min", patience=patience)
    epoch_end = EpochEnd(step, build.metrics(), step_count=count, best=None, stopper=stopper)
    graph = BlockGraph(
        step=step, epoch_end=epoch_end, step_count=count, batch_size=1, steps_per_epoch=2, max_steps=6, max_epochs=3
    )
    return graph, model


def run(graph: BlockGraph, rows: list[int], *span: int, validation: Validation | None = NO_ROWS) -> BlockValues:
    padded = tf.constant(rows + [0] * (6 - len(rows)))
    return graph.run(
        ALONE,
        tf.constant(True),
        data=DATA,
        rows=padded,
        span=Span(*map(tf.constant, span)),
        validation=validation,
        tracing=Tracing(),
    )


def test_a_block_spans_epochs(build: Any) -> None:
    graph, model = make(build)
    values = run(graph, ROWS[:5], 0, 1, 3)  # two whole epochs and a step of the third
    *losses, w = by_hand(ROWS[:5])
    np.testing.assert_allclose(values.curves.losses, [*losses, 0.0], rtol=1e-6)
    np.testing.assert_allclose(model.trainable_variables[0].numpy(), [[w]], rtol=1e-6)
    assert (int(values.num_steps), int(values.num_epochs), int(graph.step_count.numpy())) == (5, 2, 5)
    means = [np.mean(losses[:2]), np.mean(losses[2:4])]
    np.testing.assert_allclose(values.epochs.train[:2, 0], means, rtol=1e-6)
    assert bool(values.ok) and not bool(values.stop)


def test_a_block_may_begin_inside_an_epoch(build: Any) -> None:
    graph, _ = make(build)
    values = run(graph, ROWS[:1], 0, 1, 1)
    assert (int(values.num_steps), int(values.num_epochs)) == (1, 0)
    values = run(graph, ROWS[1:2], 1, 2, 1)
    *losses, _ = by_hand(ROWS[:2])
    assert (int(values.num_steps), int(values.num_epochs)) == (1, 1)
    np.testing.assert_allclose(values.epochs.train[0, 0], np.mean(losses), rtol=1e-6)  # of both of its steps


def test_a_step_that_is_not_finite_ends_the_block(build: Any) -> None:
    graph, model = make(build)
    values = run(graph, [0, 1, 2, 0], 0, 2, 2)
    assert not bool(values.ok)
    assert (int(values.num_steps), int(values.num_epochs), int(graph.step_count.numpy())) == (2, 1, 2)
    np.testing.assert_allclose(model.trainable_variables[0].numpy(), [[by_hand([0, 1])[-1]]], rtol=1e-6)


def test_early_stopping_ends_the_block(build: Any) -> None:
    graph, _ = make(build, patience=1)
    selection = Selection(DATA, tf.constant([1]))  # its loss grows with w²
    values = run(graph, [0] * 6, 0, 2, 3, validation=Validation(selection, 1))
    assert bool(values.stop) and bool(values.ok)
    assert (int(values.num_steps), int(values.num_epochs)) == (4, 2)
    assert float(values.epochs.val[0, 0]) < float(values.epochs.val[1, 0])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_host_may_end_the_epoch(build: Any, jit_compile: bool) -> None:
    graph, _ = make(build)

    def call() -> BlockValues:
        return run(graph, ROWS[:2], 0, 2, 1, validation=None)

    values = tf.function(call, autograph=False, jit_compile=jit_compile)()
    assert (int(values.num_steps), int(values.num_epochs)) == (2, 0)
    *losses, _ = by_hand(ROWS[:2])
    np.testing.assert_allclose(graph.step.metrics.loss_mean.result(), np.mean(losses), rtol=1e-6)
