"""Orbit's controller around its standard trainer and evaluator. Imported only if Orbit is installed."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import orbit
import tensorflow as tf

from benchmarks.keras_loops import gathered_batches
from benchmarks.setup import EVALUATION_ROWS, Data, Setup, Train


class Trainer(orbit.StandardTrainer):
    """Runs an epoch's steps as one tf.while_loop over a tf.data iterator, which is Orbit's default."""

    def __init__(self, setup: Setup):
        super().__init__(train_dataset=None)
        self.setup = setup
        self.global_step = orbit.utils.create_global_step()
        self.total = tf.Variable(0.0)

    def train_loop_begin(self) -> None:
        self.total.assign(0.0)
        for metric in self.setup.metrics:
            metric.reset_state()

    def train_step(self, iterator: Any) -> None:
        x, y = next(iterator)
        self.total.assign_add(self.setup.step(x, y))
        self.global_step.assign_add(1)

    def train_loop_end(self) -> dict[str, tf.Tensor]:
        return {"loss": self.total, **{metric.name: metric.result() for metric in self.setup.metrics}}


class Evaluator(orbit.StandardEvaluator):
    """Evaluates the validation rows with one compiled step per batch."""

    def __init__(self, setup: Setup):
        super().__init__(eval_dataset=None)
        self.setup = setup

    def eval_begin(self) -> None:
        for metric in self.setup.val_metrics:
            metric.reset_state()

    def eval_step(self, iterator: Any) -> None:
        self.setup.evaluate(*next(iterator))

    def eval_end(self, *_: Any) -> dict[str, tf.Tensor]:
        return {metric.name: metric.result() for metric in self.setup.val_metrics}


def controlled(setup: Setup) -> Train:
    """The controller's train_and_evaluate(), one inner loop per epoch; without summaries and checkpoints."""
    trainer = Trainer(setup)
    evaluator = Evaluator(setup)
    last_data: Data | None = None

    def train(data: Data, val: Data | None, *, epochs: int, shuffle: bool) -> None:
        nonlocal last_data
        steps = len(data[1]) // setup.batch_size
        if data is not last_data:  # Orbit would trace a new dataset again, so the same rows keep theirs
            last_data = data
            trainer.train_dataset = gathered_batches(data, setup.batch_size, shuffle=shuffle).repeat()
            if val is not None:
                evaluator.eval_dataset = tf.data.Dataset.from_tensor_slices(val).batch(EVALUATION_ROWS)
        controller = orbit.Controller(
            trainer=trainer, evaluator=evaluator, global_step=trainer.global_step, steps_per_loop=steps
        )
        last_step = int(trainer.global_step) + epochs * steps
        with contextlib.redirect_stdout(io.StringIO()):
            if val is None:
                controller.train(last_step)
            else:
                controller.train_and_evaluate(last_step, eval_interval=steps)

    return train
