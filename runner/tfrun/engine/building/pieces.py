"""Everything that a run is made of, built before its first step."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrun.config.catalog import Catalog
from tfrun.config.settings import DataSettings, Settings, to_plain
from tfrun.data import preprocessing
from tfrun.data.table import Table
from tfrun.engine import private
from tfrun.engine.building import devices
from tfrun.engine.building.parts import Parts, build_parts
from tfrun.engine.training import feed
from tfrun.engine.training.groups import describe_groups
from tfrun.engine.training.loop import UNLIMITED, Plan
from tfrun.engine.training.mode_cache import Choices
from tfrun.engine.training.order import Order
from tfrun.engine.training.program import Program, Tracker
from tfrun.engine.training.state import State
from tfrun.errors import ConfigError
from tfrun.files import provenance
from tfrun.files.xla_cache import processor

LOG_POINTS = 500  # of a curve over steps, where logger.every_steps is not set
TRACED_TRAINER = ("precision", "deterministic", "microbatches", "ema_decay", "on_divergence")
OPTIONAL_ROLE = "early_stopping"  # it may be turned on or off when a run goes on
SAYS_NOTHING = ("name", "output_root", "tags")  # of what a run begins with
BEGINNINGS_BYTES = 2**28  # kept of earlier runs


class Beginning(NamedTuple):
    """The values that a run begins with: of its state, of its hyperparameters, and the states of `random` and NumPy."""

    state: Mapping[str, np.ndarray]
    inputs: Mapping[str, float]
    random: tuple[Any, Any]

    @property
    def num_bytes(self) -> int:
        return sum(array.nbytes for array in self.state.values())


@dataclass(frozen=True)
class Session:
    """A run's pieces, their variables made.

    Attributes:
        settings: the config.
        strategy: the devices.
        table: the raw rows.
        examples: the same encoded and split.
        parts: model, loss, metrics, optimizers and the step.
        order: which rows each step sees.
        plan: when to stop and when to save.
        best: follows the value whose best weights are kept.
        stopper: follows the value that early stopping watches, or None.
        beginning: what a run over an earlier one's pieces begins with; None where they were built for it.
    """

    settings: Settings
    strategy: tf.distribute.Strategy
    table: Table
    examples: preprocessing.Examples
    parts: Parts
    order: Order
    plan: Plan
    best: Tracker
    stopper: Tracker | None
    beginning: Beginning | None = None

    @property
    def data_bytes(self) -> int:
        """The size of the encoded examples."""
        return feed.data_bytes(self.examples)

    @property
    def bytes_to_load(self) -> int:
        """How much of it the device has no memory for yet."""
        return feed.bytes_to_load(self.examples)

    def make_feed(self, streams: bool) -> feed.Feed:
        """Returns what brings the examples: they lie on the device, or stream from the host."""
        kind = feed.Stream if streams else feed.Resident
        return kind(self.examples, self.order, self.strategy)

    def make_program(self, streams: bool = False) -> Program:
        """Returns the program, its examples on the device or streaming from the host."""
        with self.strategy.scope():
            return Program(
                self.parts.step,
                self.make_feed(streams),
                self.order,
                self.examples.splits["val"],
                self.parts.val_loss_mean,
                self.parts.val_metrics,
                self.best,
                self.stopper,
            )

    def state(self, program: Program | None = None) -> State:
        """Returns everything that a run must find again to go on; without a program, all that is not its own."""
        step = self.parts.step
        return State(
            {
                "model": self.parts.model.variables,
                **{f"optimizer/{group.name}": group.optimizer.variables for group in step.active},
                **{f"learning_rate/{group.name}": [group.base_learning_rate] for group in step.active},
                **{f"schedule/{group.name}": group.watcher.variables for group in step.active if group.watcher},
                "train": [
                    variable
                    for metric in [step.loss_mean, *step.metrics, *step.own_metrics]
                    for variable in metric.variables
                ],
                "algorithm": list(getattr(step.algorithm, "variables", [])),
                "average": step.averages.variables if step.averages else [],
                "skips": step.skips.variables if step.skips else [],
                "loss_scale": step.loss_scale.variables if step.loss_scale else [],
                "best": [*self.best.variables, *(program.best_weights if program else [])],
                OPTIONAL_ROLE: self.stopper.variables if self.stopper else [],
                "position": [program.step_count] if program else [],
            }
        )

    def structure(self, streams: bool) -> str:
        """Returns what the program is traced for: all of the config and the data but what enters as an input."""
        settings, inputs = self.settings, self.parts.inputs
        fixed = ("match", "name", "every", "frozen", "from_epoch", "until_epoch", "clip_norm")
        groups = {
            name: {
                **inputs.structure(where, {key: getattr(group, key) for key in fixed}),
                "params": inputs.structure(where, group.params),
                "schedule": group.schedule and inputs.structure(f"{where}.schedule", group.schedule.to_dict()),
            }
            for name, group in settings.groups.items()
            for where in [f"optimizer.groups.{name}"]
        }
        described = {
            **{
                key: to_plain(getattr(settings, key))
                for key in ("model", "metric", "strategy", "early_stopping", "plugins")
            },
            **{key: inputs.structure(key, to_plain(getattr(settings, key))) for key in ("loss", "algorithm")},
            "groups": groups,
            "monitor": [settings.checkpoint.monitor, settings.checkpoint.mode],
            "trainer": inputs.structure("trainer", {key: getattr(settings.trainer, key) for key in TRACED_TRAINER}),
            "preprocessing": self.examples.preprocessing.to_json(),
            "inputs": tf.nest.map_structure(lambda array: (array.shape, str(array.dtype)), self.examples.inputs),
            "rows": {split: len(rows) for split, rows in self.examples.splits.items()},
            "batch_size": self.order.batch_size,
            "streams": streams,
        }
        return json.dumps(described, sort_keys=True, default=str)

    def begin(self, beginning: Beginning) -> None:
        """Gives all variables what a run begins with, and the config's learning rates."""
        self.parts.inputs.take(beginning.inputs)
        self.state().write(beginning.state)
        for group in self.parts.step.active:
            rate = self.settings.groups[group.name].learning_rate
            if rate is not None:
                group.base_learning_rate.assign(rate)
                group.optimizer.learning_rate.assign(rate)
        random.setstate(beginning.random[0])
        np.random.set_state(beginning.random[1])

    def load_best(self, program: Program) -> None:
        """Gives the model its best weights; before an epoch has ended, the averaged ones, where there are such."""
        if int(self.best.best_step.numpy()):
            for variable, best in zip(self.parts.model.variables, program.best_weights, strict=True):
                variable.assign(best)
        elif self.parts.step.averages is not None:
            self.parts.step.averages.swap()

    def choices(self, lanes: int = 1) -> Choices:
        """Returns what is known of this program's modes, or of so many runs of it together.

        Their speed depends on all that is named here.
        """
        step = self.parts.step
        return Choices(
            {
                "layers": [type(layer).__name__ for layer in private.layers_of(self.parts.model)],
                "variables": [(list(v.shape), v.dtype) for v in self.parts.model.variables],
                "precision": keras.config.dtype_policy().name,
                "microbatches": step.microbatches,
                "optimizers": [(type(group.optimizer).__name__, len(group.variables)) for group in step.active],
                "metrics": [type(metric).__name__ for metric in step.metrics],
                "inputs": tf.nest.map_structure(lambda array: list(array.shape), self.examples.inputs),
                "rows": {split: len(rows) for split, rows in self.examples.splits.items()},
                "batch_size": self.order.batch_size,
                "threads": self.settings.trainer.threads,
                "lanes": lanes,
                "devices": devices.device_names(),
                "processor": processor(),
                "versions": provenance.versions(),
            }
        )

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


class Kept(NamedTuple):
    """A program, the session over whose variables it is traced, what was picked for it, and its runs' beginnings."""

    structure: str
    session: Session
    program: Program
    choices: dict[Any, Any]
    beginnings: dict[str, Beginning]

    def fits(self, session: Session, structure: str) -> bool:
        """Returns whether the program is good for a session too: only inputs of it have changed."""
        is_same = self.structure == structure and session.strategy.num_replicas_in_sync == 1
        return is_same and self.session.parts.inputs.fit(session.parts.inputs)

    def take(self, session: Session, streams: bool) -> Session:
        """Returns the session over this program's variables, which take the values of the given one's."""
        beginning = session.beginning
        if beginning is None:
            state, inputs = session.state().read(), session.parts.inputs.read()
            beginning = Beginning(state, inputs, (random.getstate(), np.random.get_state()))
            self.remember(_begins_with(session.settings, session.examples), beginning)
        own = replace(self.session, settings=session.settings)
        own.begin(beginning)
        self.program.start(session.make_feed(streams), session.examples.splits["val"])
        return replace(session, parts=own.parts, best=own.best, stopper=own.stopper, beginning=beginning)

    def remember(self, key: str, beginning: Beginning) -> None:
        """Keeps what a run began with, and lets go of the oldest ones where they are too large together."""
        self.beginnings[key] = beginning
        while sum(own.num_bytes for own in self.beginnings.values()) > BEGINNINGS_BYTES:
            del self.beginnings[next(iter(self.beginnings))]


_kept: list[Kept] = []  # at most one, the last run's: another trial of a sweep is most often of the same structure


def with_program(session: Session, streams: bool) -> tuple[Session, Kept]:
    """Returns the session and its program: the last run's, compiled already, where that fits."""
    structure = session.structure(streams)
    for kept in _kept:
        if kept.fits(session, structure):
            return kept.take(session, streams), kept
    if session.beginning is not None:
        session.begin(session.beginning)
    without_data = replace(session, table=None, examples=None)  # type: ignore[arg-type] # nobody asks it for them
    _kept[:] = [Kept(structure, without_data, session.make_program(streams), {}, {})]
    return session, _kept[0]


def build_session(
    settings: Settings,
    catalog: Catalog,
    table: Table,
    fitted: preprocessing.Preprocessing | None = None,
    may_be_kept: bool = False,
) -> Session:
    """Does everything that comes before the first step: devices, data, model, optimizers.

    Args:
        settings: the config.
        catalog: the components.
        table: the raw rows.
        fitted: a trained run's preprocessing: then all rows are there to be evaluated, and none to be trained on.
        may_be_kept: whether it may be over the variables of the program that is kept, which have their values once
            it has been given to that: where an earlier run differed in nothing but its learning rates.

    Raises:
        TfrunError: the devices, the data or the components are not as the config says.
    """
    strategy = devices.prepare(settings.trainer, settings.strategy, settings.seed)
    examples = _prepared(table, settings.data) if fitted is None else preprocessing.prepare_evaluation(table, fitted)
    order = Order(examples.splits["train"], settings.data.batch_size, settings.seed)
    if fitted is None:
        devices.check_batch_size(order.batch_size, strategy, settings.trainer.microbatches)
    plan = make_plan(settings, order.steps_per_epoch)
    for kept in _kept if may_be_kept else ():
        beginning = kept.beginnings.get(_begins_with(settings, examples))
        if beginning is not None:
            parts, best, stopper = kept.session.parts, kept.session.best, kept.session.stopper
            return Session(settings, strategy, table, examples, parts, order, plan, best, stopper, beginning)
    sample = feed.sample(examples)
    parts = build_parts(settings, catalog, strategy, examples.preprocessing, sample, plan)
    with strategy.scope():
        best = Tracker(settings.checkpoint.monitor, settings.checkpoint.mode)
        stopping = settings.early_stopping
        stopper = None
        if stopping:
            stopper = Tracker(stopping.monitor, stopping.mode, stopping.min_delta, stopping.patience)
    if len(examples.splits["val"]) == 0 and fitted is None:
        _check_monitors({"checkpoint": best, "early_stopping": stopper})
    return Session(settings, strategy, table, examples, parts, order, plan, best, stopper)


def _begins_with(settings: Settings, examples: preprocessing.Examples) -> str:
    """Returns what a run's first values follow from, but for its learning rates."""
    groups = {
        name: {**group.to_dict(), "learning_rate": group.learning_rate is None}
        for name, group in settings.groups.items()
    }
    own = {key: value for key, value in settings.to_dict().items() if key not in SAYS_NOTHING}
    return json.dumps([own | {"optimizer": groups}, examples.fingerprint], sort_keys=True, default=str)


_last_prepared: list[
    tuple[Table, str, preprocessing.Examples]
] = []  # at most one: a sweep's next job most often has its rows


def _prepared(table: Table, data: DataSettings) -> preprocessing.Examples:
    key = json.dumps([data.to_dict(), keras.config.floatx()], sort_keys=True)
    for last, its_key, examples in _last_prepared:
        if last is table and its_key == key:
            return examples
    _last_prepared.clear()  # before there are others in memory
    examples = preprocessing.prepare(table, data)
    _last_prepared.append((table, key, examples))
    return examples


def make_plan(settings: Settings, steps_per_epoch: int) -> Plan:
    """Returns when the run stops and saves; the nearest of several limits counts."""
    trainer, checkpoint, logger = settings.trainer, settings.checkpoint, settings.logger
    limits = [trainer.max_steps, trainer.max_epochs and trainer.max_epochs * steps_per_epoch]
    cadences = [checkpoint.every_steps, checkpoint.every_epochs and checkpoint.every_epochs * steps_per_epoch]
    last_step = min((limit for limit in limits if limit), default=UNLIMITED)
    return Plan(
        steps_per_epoch,
        last_step,
        max_seconds=trainer.max_seconds,
        save_every_steps=tuple(every for every in cadences if every),
        save_every_seconds=checkpoint.every_seconds,
        log_every_steps=(logger.every_steps or _log_every(last_step)) if logger else None,
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
