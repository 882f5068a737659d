"""Builds the pieces of a run, before its first step: devices, examples, order, plan, parts."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrun.config.directions import direction_of
from tfrun.config.settings import Settings, to_plain
from tfrun.data.examples import Examples
from tfrun.data.table import Table
from tfrun.engine import private
from tfrun.engine.building import devices, threads
from tfrun.engine.building.data_structure import data_structure
from tfrun.engine.building.initial_weights import Origins
from tfrun.engine.building.parts import Parts
from tfrun.engine.building.tables import WholeTable
from tfrun.engine.training import feed, replicas
from tfrun.engine.training.groups import describe_groups
from tfrun.engine.training.mode_cache import ModeCache
from tfrun.engine.training.order import Order
from tfrun.engine.training.plan import Plan
from tfrun.engine.training.program import Program
from tfrun.engine.training.state import State
from tfrun.engine.training.tracker import Tracker
from tfrun.engine.training.worker_state import ROLE, Announce, WorkerState, announce_nothing
from tfrun.files import strict_json
from tfrun.files.provenance.versions import versions
from tfrun.files.xla_cache import processor

TRACED_SECTIONS = ("model", "metric", "strategy", "early_stopping", "plugins")
# every other key of these sections is traced into the program
UNTRACED_TRAINER = ("max_epochs", "max_steps", "max_seconds", "compile", "threads", "began_with_threads", "profile")
UNTRACED_GROUP = ("learning_rate", "optional")
# early stopping may be turned on or off when a run is resumed; earlier versions didn't save the replicas' parts
OPTIONAL_ROLES = ("early_stopping", ROLE)


class Beginning(NamedTuple):
    """The values that a run begins with.

    Attributes:
        state: of its variables, by slot.
        inputs: of its program's inputs, by path.
        random: the states of Python's and NumPy's generators.
    """

    state: Mapping[str, np.ndarray]
    inputs: Mapping[str, Any]
    random: tuple[Any, Any]

    @property
    def num_bytes(self) -> int:
        """The memory that it takes."""
        return sum(array.nbytes for array in self.state.values())


@dataclass(frozen=True)
class Pieces:
    """A run's pieces, their variables made.

    Attributes:
        settings: the config.
        strategy: the devices.
        table: the raw rows.
        examples: the rows encoded and split.
        parts: model, loss, metrics, optimizers and the step.
        order: which rows each step sees.
        plan: when to stop and when to save.
        best: tracks the value whose best weights are kept.
        stopper: tracks the value that early stopping monitors, or None.
        whole_tables: the large tables that every step updates as a whole.
        origins: where the first weights come from; None if all are fresh, or were restored.
        beginning: the values to begin with, if the pieces are an earlier run's; None if they were built for this run.
        announce: lets other workers do what needs all of them.
        limit_seconds: how long they may take to do it; None for one process.
    """

    settings: Settings
    strategy: tf.distribute.Strategy
    table: Table
    examples: Examples
    parts: Parts
    order: Order
    plan: Plan
    best: Tracker
    stopper: Tracker | None
    whole_tables: tuple[WholeTable, ...] = ()
    origins: Origins | None = None
    beginning: Beginning | None = None
    announce: Announce = announce_nothing
    limit_seconds: float | None = None

    @property
    def data_bytes(self) -> int:
        """The size of the encoded examples."""
        return feed.data_bytes(self.examples)

    @property
    def bytes_to_load(self) -> int:
        """The size of those examples that the device has no memory for yet."""
        return feed.bytes_to_load(self.examples)

    @property
    def val_rows(self) -> np.ndarray:
        """The row numbers of the validation split."""
        return self.examples.splits["val"]

    def make_feed(self, *, streams: bool) -> feed.Feed:
        """Returns the feed of the examples: they lie on the device, or are streamed from the host."""
        kind = feed.Stream if streams else feed.Resident
        return kind(self.examples, self.order, strategy=self.strategy)

    def make_program(self, *, streams: bool = False) -> Program:
        """Returns the program over these pieces, not compiled yet."""
        with self.strategy.scope():
            program = Program(
                self.parts.step,
                self.order,
                feed=self.make_feed(streams=streams),
                val_rows=self.val_rows,
                val_metrics=self.parts.val_metrics,
                best=self.best,
                stopper=self.stopper,
            )
        program.announce, program.limit_seconds = self.announce, self.limit_seconds
        return program

    def state(self, program: Program | None = None) -> State:
        """Returns every variable that a resumed run must restore.

        Args:
            program: None leaves out the variables that are the program's own.
        """
        step = self.parts.step
        options = step.options
        roles: dict[str, list[Any]] = {
            "model": self.parts.model.variables,
            **{f"optimizer/{group.name}": group.optimizer.variables for group in step.active},
            **{f"learning_rate/{group.name}": [group.base_learning_rate] for group in step.active},
            **{
                f"schedule/{group.name}": list(group.epoch_schedule.variables)
                for group in step.active
                if group.epoch_schedule is not None
            },
            "train": [variable for metric in step.all_metrics for variable in metric.variables],
            "algorithm": list(step.algorithm.variables),
            "average": options.averages.variables if options.averages else [],
            "skips": options.skips.variables if options.skips else [],
            "loss_scale": options.loss_scale.variables if options.loss_scale else [],
            "augmentation": options.augmenter.variables if options.augmenter else [],
            "best": [*self.best.variables, *(program.best_weights if program else [])],
            "early_stopping": self.stopper.variables if self.stopper else [],
            "position": [program.step_count] if program else [],
        }
        if replicas.spans_processes(self.strategy):
            return WorkerState(
                roles,
                self._split_over_replicas,
                strategy=self.strategy,
                announce=self.announce,
                limit_seconds=self.limit_seconds,
            )
        parts = [part for v in self._split_over_replicas for part in replicas.components(self.strategy, v)]
        return State(roles | {ROLE: parts})

    @property
    def _split_over_replicas(self) -> list[Any]:
        """The variables of whose values each replica has a part; none on one device.

        Their sum alone isn't enough: a run that is resumed adds further numbers to the parts, and rounds each of them.
        """
        if self.strategy.num_replicas_in_sync == 1:
            return []
        metrics = [variable for metric in self.parts.step.all_metrics for variable in metric.variables]
        return list(filter(replicas.has_parts, [*self.parts.model.variables, *metrics]))

    def read_beginning(self) -> Beginning:
        """Returns the values as they are, of pieces that were just built."""
        return Beginning(self.state().read(), self.parts.inputs.read(), (random.getstate(), np.random.get_state()))

    def begin(self, beginning: Beginning, settings: Settings) -> None:
        """Assigns the values that a run begins with, and its config's learning rates."""
        self.parts.inputs.assign(beginning.inputs)
        self.state().write(beginning.state)
        for group in self.parts.step.active:
            rate = settings.groups[group.name].learning_rate
            if rate is not None:
                group.base_learning_rate.assign(rate)
                group.optimizer.learning_rate.assign(rate)
        random.setstate(beginning.random[0])
        np.random.set_state(beginning.random[1])

    def load_best(self, program: Program) -> None:
        """Assigns the best weights to the model; before the first epoch has ended, the averaged weights, if any."""
        program.announce("load_best")
        if int(self.best.best_step.numpy()):
            for variable, best in zip(self.parts.model.variables, program.best_weights, strict=True):
                variable.assign(best)
        elif self.parts.step.options.averages is not None:
            self.parts.step.options.averages.swap()

    def structure(self, *, streams: bool) -> str:
        """Returns everything that the program is traced for: the config and the data, without the program's inputs.

        The deciles that the model has read come in addition, see `KeptProgram.fits`.
        """
        settings = self.settings
        inputs = self.parts.inputs
        trainer = {key: value for key, value in asdict(settings.trainer).items() if key not in UNTRACED_TRAINER}
        described = {key: to_plain(getattr(settings, key)) for key in TRACED_SECTIONS} | {
            "loss": inputs.structure("loss", to_plain(settings.loss)),
            "algorithm": inputs.structure("algorithm", to_plain(settings.algorithm)),
            "groups": {name: self._group_structure(name) for name in settings.groups},
            "monitor": [settings.checkpoint.monitor, settings.checkpoint.mode],
            "trainer": inputs.structure("trainer", trainer),
            "augment": [
                inputs.structure(f"data.augment.{k}", augmentation.to_dict())
                for k, augmentation in enumerate(settings.data.augment)
            ],
            "data": data_structure(self.examples, self.order, streams=streams),
        }
        return strict_json.dumps(described, sort_keys=True, default=str)

    def _group_structure(self, name: str) -> dict[str, Any]:
        where = f"optimizer.groups.{name}"
        group = self.settings.groups[name]
        inputs = self.parts.inputs
        schedule = group.schedule and inputs.structure(f"{where}.schedule", group.schedule.to_dict())
        fixed = {
            key: value for key, value in group.to_dict().items() if key not in (*UNTRACED_GROUP, "params", "schedule")
        }
        params = inputs.structure(where, group.params)
        return inputs.structure(where, fixed) | {"params": params, "schedule": schedule}

    @property
    def _tables(self) -> dict[str, str]:
        """How the large tables of ids are updated, by their paths."""
        step = self.parts.step
        by_rows = {variable.path: "by rows" for variable in step.model.variables if variable in step.tables}
        return by_rows | {table.variable: f"as a whole, since {table.why}" for table in self.whole_tables}

    @property
    def _num_rows(self) -> dict[str, int]:
        return {split: len(rows) for split, rows in self.examples.splits.items()}

    @property
    def _class_weights(self) -> dict[str, Any]:
        """The entry of `run.json` with the weights of the classes, by target; empty if there are none."""
        weights = {
            name: dict(zip(target.classes, self.examples.class_weights[output], strict=True))
            for name, (output, target) in zip(
                self.table.targets, self.examples.preprocessing.targets.items(), strict=True
            )
            if output in self.examples.class_weights
        }
        return {"class_weight": weights} if weights else {}

    def mode_cache(self, num_runs: int = 1) -> ModeCache:
        """Returns where this program's mode is remembered, or that of several runs trained together.

        The description names what their speed mostly depends on.
        """
        step = self.parts.step
        augment = self.settings.data.augment
        return ModeCache(
            {
                "layers": [type(layer).__name__ for layer in private.layers_of(self.parts.model)],
                "variables": [(list(v.shape), v.dtype) for v in self.parts.model.variables],
                "algorithm": self.settings.algorithm.name,
                "loss": self.settings.loss.name,
                "precision": keras.config.dtype_policy().name,
                "microbatches": step.options.microbatches,
                "optimizers": [(type(group.optimizer).__name__, len(group.variables)) for group in step.active],
                "metrics": [type(metric).__name__ for metric in step.metrics.metrics],
                "inputs": tf.nest.map_structure(lambda array: list(array.shape), self.examples.inputs),
                "rows": self._num_rows,
                "batch_size": self.order.batch_size,
                "threads": threads.limit(),
                "lanes": num_runs,
                "devices": devices.device_names(),
                "processor": processor(),
                "versions": versions(),
                # so that what was measured without augmentations is still known
                **({"augment": [chosen.name for chosen in augment]} if augment else {}),
            }
        )

    @property
    def own_directions(self) -> dict[str, bool | None]:
        """Whether a greater value is better, for the metrics that the model and the algorithm update themselves."""
        return {metric.name: direction_of(metric) for metric in self.parts.step.own_metrics}

    def describe(self) -> dict[str, Any]:
        """Returns the entries of `run.json` about the model and the data."""
        return {
            "groups": describe_groups(self.parts.step.groups, self._tables),
            "parameters": self.parts.model.count_params(),
            **({"init": self.origins.describe()} if self.origins else {}),
            "data": {
                "source": self.table.source,
                "task": self.table.task,
                "rows": len(self.table.target),
                "rows_left_out": self.table.rows_left_out,
                **self._num_rows,
                "split": self.examples.split_rule,
                **self._class_weights,
                **({} if self.examples.windows is None else {"windows": self.examples.windows}),
                "fingerprint": self.examples.fingerprint,
            },
        }
