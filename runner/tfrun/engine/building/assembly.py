"""Builds the pieces of a run: devices, rows, model, optimizers, order, plan, and the weights that it begins with."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfrun.config.catalog import Catalog
from tfrun.config.earlier_runs import leaves_rows_out
from tfrun.config.settings import InitSettings, Settings
from tfrun.data.examples import Examples, prepare
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.engine.building import devices, memory, random_state, threads
from tfrun.engine.building.id_ranges import check_ids
from tfrun.engine.building.initial_weights import Origins, begin
from tfrun.engine.building.optimizers import keep_weights
from tfrun.engine.building.parts import Parts, build_model, build_parts
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.building.plan import build_plan
from tfrun.engine.building.tables import WholeTable, find_tables
from tfrun.engine.building.teacher import give_teacher
from tfrun.engine.training import feed
from tfrun.engine.training.order import Order
from tfrun.engine.training.plan import Plan
from tfrun.engine.training.tracker import Tracker
from tfrun.errors import ConfigError
from tfrun.files.runs import RunFolder


def build_pieces(
    settings: Settings, catalog: Catalog, *, table: Table, prepare_trained: Callable[[Table], Examples] | None = None
) -> Pieces:
    """Builds everything that comes before the first step.

    Args:
        settings: the config.
        catalog: the components that exist.
        table: the raw rows.
        prepare_trained: encodes the rows with a trained run's preprocessing; none is to be trained on. None splits and
            encodes them for a new run.

    Raises:
        TfrunError: the devices, the data or the components are not as the config says.
    """
    strategy = devices.prepare(settings.trainer, settings.strategy, seed=settings.seed)
    is_trained = prepare_trained is None
    examples = encode_rows(settings, catalog, table=table) if prepare_trained is None else prepare_trained(table)
    return pieces_over(settings, catalog, table=table, strategy=strategy, examples=examples, is_trained=is_trained)


def encode_rows(settings: Settings, catalog: Catalog, *, table: Table) -> Examples:
    """Splits and encodes the rows of a new run, once the number of threads is chosen.

    Args:
        settings: the config; its devices are prepared.
        catalog: the components that exist.
        table: the raw rows. Its columns are released.

    Raises:
        DataError: as `prepare` does.
    """

    def choose_threads(preprocessing: Preprocessing) -> None:
        build = functools.partial(build_model, settings.model, catalog, preprocessing=preprocessing)
        if threads.choose(settings, preprocessing, build=build):
            with random_state.generators_kept():
                devices.begin_names_and_draws(settings.trainer, seed=settings.seed)

    return prepare(table, settings.data, fitted=_preprocessing_of(settings.init), before_encoding=choose_threads)


def _preprocessing_of(init: InitSettings) -> Preprocessing | None:
    """Returns the preprocessing of the run that the config says to take it from, or None if it is learnt anew."""
    if init.source is None or init.preprocessing == "new":
        return None
    folder = RunFolder(Path(init.source).expanduser().absolute())
    return Preprocessing.from_fields(folder.read_preprocessing(), source=str(folder.preprocessing_json))


def pieces_over(
    settings: Settings,
    catalog: Catalog,
    *,
    table: Table,
    strategy: tf.distribute.Strategy,
    examples: Examples,
    is_trained: bool = True,
) -> Pieces:
    """Builds the pieces over devices and examples that are prepared already.

    Args:
        settings: the config.
        catalog: the components that exist.
        table: the raw rows.
        strategy: the devices.
        examples: the rows encoded and split.
        is_trained: whether there are rows to train on.
    """
    order, plan = order_and_plan(settings, examples)
    if is_trained:
        devices.check_batch_size(order.batch_size, strategy, microbatches=settings.trainer.microbatches)
    sample = feed.sample(examples)
    parts = build_parts(
        settings,
        catalog,
        strategy=strategy,
        preprocessing=examples.preprocessing,
        sample=sample,
        plan=plan,
        class_weights=examples.class_weights,
    )
    check_ids(parts.model, examples, table)
    with strategy.scope():
        best = Tracker(settings.checkpoint.monitor, settings.checkpoint.mode)
        stopping = settings.early_stopping
        stopper = None
        if stopping:
            stopper = Tracker(stopping.monitor, stopping.mode, min_delta=stopping.min_delta, patience=stopping.patience)
    whole_tables: list[WholeTable] = []
    origins = None
    if is_trained:
        of_teacher = give_teacher(
            parts.step.algorithm, settings, catalog, preprocessing=examples.preprocessing, inputs=sample[0]
        )
        parts = replace(parts, warnings=(*parts.warnings, *of_teacher))
        tables, whole_tables = find_tables(parts.step, settings.groups, sample=sample, batch_size=order.batch_size)
        parts.step.update_by_rows(tables)
        trained = [v for v in parts.model.trainable_variables if v not in parts.step.tables]
        memory.check_training(parts.model.variables, trained)
        # after that: whether a table is updated by rows follows from its fresh weights, as in a run that is resumed
        origins = _begin(parts, settings.init, inputs=sample[0], preprocessing=examples.preprocessing)
    if is_trained and len(examples.splits["val"]) == 0:
        _check_monitors({"checkpoint": best, "early_stopping": stopper})
    return Pieces(
        settings=settings,
        strategy=strategy,
        table=table,
        examples=examples,
        parts=parts,
        order=order,
        plan=plan,
        best=best,
        stopper=stopper,
        whole_tables=tuple(whole_tables),
        origins=origins,
    )


def _begin(parts: Parts, init: InitSettings, *, inputs: Any, preprocessing: Preprocessing) -> Origins | None:
    """Assigns the weights that a run begins with, unless they are fresh or a checkpoint has them."""
    if not init.reads_weights:
        return None
    origins = begin(parts.model, init, inputs=inputs, preprocessing=preprocessing)
    if origins is not None:
        keep_weights(parts.step.active)
    return origins


def order_and_plan(settings: Settings, examples: Examples) -> tuple[Order, Plan]:
    """Returns the order of the training rows, and when the run stops."""
    data, rows = settings.data, examples.splits["train"]
    order = Order(rows, data.batch_size, seed=settings.seed, leaves_rows_out=leaves_rows_out(data))
    return order, build_plan(settings, order.steps_per_epoch)


def _check_monitors(trackers: Mapping[str, Tracker | None]) -> None:
    """Raises ConfigError if a monitored value needs validation rows; there are none."""
    for section, tracker in trackers.items():
        if tracker is not None and tracker.monitor.startswith("val/"):
            raise ConfigError(
                f"{section}.monitor: {tracker.monitor} needs validation rows, and there are none. "
                f"Received: data.validation_split gives 0 rows. Try {section}.monitor=train/loss"
            )
