"""Everything that a run is made of, built before its first step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from tfrun.catalog import Catalog
from tfrun.engine import data, devices
from tfrun.engine.build import Parts, build_parts
from tfrun.engine.checkpoints import State
from tfrun.engine.loop import UNLIMITED, Plan
from tfrun.engine.order import Order
from tfrun.engine.program import Program, Tracker
from tfrun.engine.split import describe_groups
from tfrun.errors import ConfigError
from tfrun.table import Table

LOG_POINTS = 500  # of a curve over steps, where logger.every_steps is not set
OPTIONAL_ROLE = "early_stopping"  # it may be turned on or off when a run goes on


@dataclass(frozen=True)
class Session:
    """A run's pieces, their variables made.

    Attributes:
        strategy: the devices.
        table: the raw rows.
        examples: the same encoded and split.
        parts: model, loss, metrics, optimizers and the step.
        order: which rows each step sees.
        plan: when to stop and when to save.
        best: follows the value whose best weights are kept.
        stopper: follows the value that early stopping watches, or None.
    """

    strategy: tf.distribute.Strategy
    table: Table
    examples: data.Examples
    parts: Parts
    order: Order
    plan: Plan
    best: Tracker
    stopper: Tracker | None

    @property
    def data_bytes(self) -> int:
        """The size of the encoded examples."""
        return sum(array.nbytes for array in tf.nest.flatten((self.examples.inputs, self.examples.targets)))

    @cached_property
    def resident(self) -> Any:
        """The encoded examples on the device, (inputs, targets); made once for all programs."""
        return tf.nest.map_structure(tf.constant, (self.examples.inputs, self.examples.targets))

    def make_program(self, mode: str) -> Program:
        """Returns the program of a mode; all share the session's variables and have a few of their own."""
        with self.strategy.scope():
            return Program(
                self.parts.step,
                (self.examples.inputs, self.examples.targets) if mode == "stream" else self.resident,
                self.order,
                self.examples.splits["val"],
                self.parts.val_loss_mean,
                self.parts.val_metrics,
                self.best,
                self.stopper,
                mode,
            )

    def state(self, program: Program) -> State:
        """Returns everything that a run must find again to go on."""
        step = self.parts.step
        return State(
            {
                "model": self.parts.model.variables,
                **{f"optimizer/{group.name}": group.optimizer.variables for group in step.active},
                **{f"learning_rate/{group.name}": [group.base_learning_rate] for group in step.active},
                "train": [variable for metric in [step.loss_mean, *step.metrics] for variable in metric.variables],
                "best": [*self.best.variables, *program.best_weights],
                OPTIONAL_ROLE: self.stopper.variables if self.stopper else [],
                "position": [program.step_count],
            }
        )

    def load_best(self, program: Program) -> None:
        """Gives the model its best weights, where an epoch has ended."""
        if int(self.best.best_step.numpy()):
            for variable, best in zip(self.parts.model.variables, program.best_weights, strict=True):
                variable.assign(best)

    def describe(self) -> dict[str, Any]:
        """Returns what `run.json` says of the model and the data."""
        return {
            "groups": describe_groups(self.parts.step.groups),
            "parameters": self.parts.model.count_params(),
            "data": {
                "source": self.table.source,
                "task": self.table.task,
                "rows": len(self.table.target),
                **{split: len(rows) for split, rows in self.examples.splits.items()},
                "fingerprint": self.examples.fingerprint,
            },
        }


def build_session(
    config: Mapping[str, Any], catalog: Catalog, table: Table, fitted: data.Preprocessing | None = None
) -> Session:
    """Does everything that comes before the first step: devices, data, model, optimizers.

    Args:
        config: the normalized config.
        catalog: the components.
        table: the raw rows.
        fitted: a trained run's preprocessing: then all rows are there to be evaluated, and none to be trained on.

    Raises:
        TfrunError: the devices, the data or the components are not as the config says.
    """
    strategy = devices.prepare(config["trainer"], config["strategy"], config["seed"])
    if fitted is None:
        examples = data.prepare(table, config["data"])
    else:
        rows = {"train": np.arange(1), "val": np.arange(0), "test": np.arange(len(table.target))}
        examples = data.Examples(*data.encode(table, fitted), rows, fitted, data.fingerprint(table))
    order = Order(examples.splits["train"], config["data"]["batch_size"], config["seed"])
    if fitted is None:
        devices.check_batch_size(order.batch_size, strategy)
    plan = make_plan(config, order.steps_per_epoch)
    sample = tf.nest.map_structure(lambda array: array[:2], (examples.inputs, examples.targets))
    parts = build_parts(config, catalog, strategy, examples.preprocessing, sample, plan.last_step)
    with strategy.scope():
        checkpoint, stopping = config["checkpoint"], config["early_stopping"]
        best = Tracker(checkpoint["monitor"], checkpoint["mode"])
        stopper = stopping and Tracker(
            stopping["monitor"], stopping["mode"], stopping["min_delta"], stopping["patience"]
        )
    if len(examples.splits["val"]) == 0 and fitted is None:
        _check_monitors({"checkpoint": best, "early_stopping": stopper})
    return Session(strategy, table, examples, parts, order, plan, best, stopper)


def make_plan(config: Mapping[str, Any], steps_per_epoch: int) -> Plan:
    """Returns when the run stops and saves; the nearest of several limits counts."""
    trainer, checkpoint, logger = config["trainer"], config["checkpoint"], config["logger"]
    limits = [trainer["max_steps"], trainer["max_epochs"] and trainer["max_epochs"] * steps_per_epoch]
    cadences = [checkpoint["every_steps"], checkpoint["every_epochs"] and checkpoint["every_epochs"] * steps_per_epoch]
    last_step = min((limit for limit in limits if limit), default=UNLIMITED)
    return Plan(
        steps_per_epoch,
        last_step,
        max_seconds=trainer["max_seconds"],
        save_every_steps=tuple(every for every in cadences if every),
        save_every_seconds=checkpoint["every_seconds"],
        log_every_steps=(logger["every_steps"] or _log_every(last_step)) if logger else None,
    )


def _log_every(last_step: int) -> int:
    return 100 if last_step == UNLIMITED else max(1, last_step // LOG_POINTS)


def _check_monitors(trackers: Mapping[str, Tracker | None]) -> None:
    for section, tracker in trackers.items():
        if tracker is not None and tracker.monitor.startswith("val/"):
            raise ConfigError(
                f"{section}.monitor: {tracker.monitor} needs validation rows, and there are none. "
                f"Received: data.validation_split gives 0 rows. Try {section}.monitor=train/loss"
            )
