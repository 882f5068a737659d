"""Keeps the meaning of a config for runs of earlier versions, so that a resumed one gives the same numbers.

`run.json` says what a run means; an earlier version has written none of these keys. Two keys of `preprocessing.json`
say the same of what such a run has learnt: `spelt_as_read` (`data.labels`) and `exact_offsets` (`data.kinds`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from tfrun.config.component_settings import ComponentSettings
from tfrun.config.data_settings import DataSettings
from tfrun.config.keys import flatten
from tfrun.config.settings import Settings, TrainerSettings
from tfrun.files.run_json import DATES, EPOCH_ROWS, IDLE_LAYERS, OFFSETS, SCHEDULE_END, TABLE_UPDATES

AT_LAST_STEP, AFTER_LAST_STEP = "last step", "step after the last"
IN_FLOAT64, IN_FLOAT32 = "float64", "float32"
AS_DATES, AS_CATEGORIES = "date", "category"
ALL_ROWS, WHOLE_BATCHES = "all rows", "whole batches"
BY_ROWS, AS_WHOLES = "by rows", "as wholes"
IN_INFERENCE, IN_TRAINING = "as in inference", "as in training"
# what keys meant before they existed, where that isn't their default in `conf/`
BEFORE_THE_KEY: dict[str, dict[str, Any]] = {
    "data": {"split": {"by": "random", "column": None}},
    "trainer": {"threads": None},
}
# the optimizer groups that models asked for in sweeps of earlier versions, where they ask for others now
GROUPS_BEFORE: dict[str, dict[str, dict[str, Any]]] = {
    "wide_deep": {
        "wide": {"match": "^wide/", "name": "ftrl", "learning_rate": 0.05, "optional": True},
        "deep": {"match": "^deep/", "name": "adam", "learning_rate": 0.001, "optional": True},
    }
}
# parameters with which models begin as in versions whose epochs had whole batches only, unless the config names them
MODELS_BEFORE: dict[str, dict[str, Any]] = {"wide_deep": {"output_initializer": "glorot_uniform"}}
TABLES, IN_THEIR_GROUP = "tables", "own group"  # written into a sweep's ledger; those of earlier versions lack it
EARLIER_WORDS = "earlier_words"  # in the ledger of a sweep of an earlier version, once this one has extended it
MAX_THREADS = 1024  # that an operation may have; a `run.json` that says more is damaged
ENDED_LATER = ("cosine", "linear", "one_cycle")  # the schedules that reached `final` one step after the last one


def words_of_earlier(config: Mapping[str, Any], header: Mapping[str, Any]) -> list[str]:
    """Returns the overrides with which the config of a sweep of an earlier version means what it did then.

    Args:
        config: its `multirun.yaml`, which is that of the newest command once the sweep has been extended.
        header: its ledger's.
    """
    if EARLIER_WORDS in header:
        return list(header[EARLIER_WORDS])
    words = [
        f"{section}.{path}={'null' if value is None else value}"
        for section, keys in BEFORE_THE_KEY.items()
        for key, meant in keys.items()
        if isinstance(config.get(section), dict) and config[section].get(key) is None
        for path, value in flatten(meant, key)
    ]
    epochs = config["trainer"].get("max_epochs") if isinstance(config.get("trainer"), dict) else None
    if words and epochs not in (None, "auto"):
        words.append(f"trainer.max_epochs={epochs}")  # their number didn't follow from the data yet
    return words


def header_of(before: Mapping[str, Any] | None, words: Sequence[str]) -> dict[str, Any]:
    """Returns the entries of a sweep's ledger that say what the sweep means by its config.

    Args:
        before: the header of a sweep that is extended, or None for a new one.
        words: those of `words_of_earlier`.
    """
    tables = IN_THEIR_GROUP if before is None else before.get(TABLES)
    return {**({TABLES: tables} if tables else {}), **({EARLIER_WORDS: list(words)} if words else {})}


def groups_of_earlier(header: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Returns the optimizer groups that models asked for in the version of a sweep whose ledger has this header."""
    return {} if header.get(TABLES) == IN_THEIR_GROUP else GROUPS_BEFORE


@dataclass(frozen=True)
class EarlierSchedule(ComponentSettings):
    """A schedule of a run that began when schedules reached their `final` one step after the last one.

    Attributes:
        extra_steps: added to the run's steps, so that the factors are the same as then.
    """

    extra_steps: int = 1


@dataclass(frozen=True)
class EarlierData(DataSettings):
    """The data of a run that began with an earlier version. Fields, so that no rows are kept for runs that need others.

    Attributes:
        exact_offsets: False if all columns and targets are scaled in float32, however far from 0.
        guesses_dates: False if a text column of dates is a category, unless the config says otherwise.
        leaves_rows_out: whether the rows that fill no batch are left out of an epoch.
    """

    exact_offsets: bool = False
    guesses_dates: bool = False
    leaves_rows_out: bool = True


@dataclass(frozen=True)
class EarlierTrainer(TrainerSettings):
    """The trainer of a run that is resumed with `threads=auto`: it keeps the number that it began with.

    Attributes:
        began_with_threads: that number; None for all cores, if an earlier version began the run.
    """

    began_with_threads: int | None = None


def meanings(before: Mapping[str, Any] | None) -> dict[str, str]:
    """Returns the entries of `run.json` that say what a run means by its config.

    `schedule_end` is the step at which its schedules reach their `final`, `offsets` the precision in which it scales
    columns and targets far from 0, `dates` the kind of text columns that hold ISO dates, `epoch_rows`
    whether its epochs have all rows or only those that fill batches, `table_updates` whether a step updates tables by
    rows where that is exact, `idle_layers` whether the layers of a group that isn't trained run as in inference.

    Args:
        before: `run.json` of a run that is resumed, or None for a new one.
    """
    if before is None or "step" not in before:  # a job that couldn't start has written no step
        return {
            SCHEDULE_END: AT_LAST_STEP,
            OFFSETS: IN_FLOAT64,
            DATES: AS_DATES,
            EPOCH_ROWS: ALL_ROWS,
            TABLE_UPDATES: BY_ROWS,
            IDLE_LAYERS: IN_INFERENCE,
        }
    return {
        SCHEDULE_END: str(before.get(SCHEDULE_END, AFTER_LAST_STEP)),
        OFFSETS: str(before.get(OFFSETS, IN_FLOAT32)),
        DATES: str(before.get(DATES, AS_CATEGORIES)),
        EPOCH_ROWS: str(before.get(EPOCH_ROWS, WHOLE_BATCHES)),
        TABLE_UPDATES: str(before.get(TABLE_UPDATES, AS_WHOLES)),
        IDLE_LAYERS: str(before.get(IDLE_LAYERS, IN_TRAINING)),
    }


def as_it_began(settings: Settings, before: Mapping[str, Any] | None) -> Settings:
    """Returns the settings with what they meant when a run began; `before` as for `meanings`."""
    meant = meanings(before)
    is_exact, guesses_dates = meant[OFFSETS] == IN_FLOAT64, meant[DATES] == AS_DATES
    has_all_rows = meant[EPOCH_ROWS] == ALL_ROWS
    engine = (before or {}).get("engine") or {}
    if engine and settings.trainer.threads == "auto":
        trainer = EarlierTrainer(**vars(settings.trainer), began_with_threads=engine.get("threads"))
        settings = replace(settings, trainer=trainer)
    if not (is_exact and guesses_dates and has_all_rows):
        shared = {field.name: getattr(settings.data, field.name) for field in fields(settings.data)}
        earlier = EarlierData(
            **shared, exact_offsets=is_exact, guesses_dates=guesses_dates, leaves_rows_out=not has_all_rows
        )
        settings = replace(settings, data=earlier)
    if not has_all_rows:
        settings = _with_earlier_model(settings)
    if meant[TABLE_UPDATES] == AS_WHOLES:  # the same except for rounding, and a resumed run keeps its bits
        groups = {name: replace(group, rows="dense") for name, group in settings.groups.items()}
        settings = replace(settings, groups=groups)
    if meant[IDLE_LAYERS] == IN_TRAINING:
        groups = {name: replace(group, statistics="moving") for name, group in settings.groups.items()}
        settings = replace(settings, groups=groups)
    return settings if meant[SCHEDULE_END] == AT_LAST_STEP else _with_earlier_schedules(settings)


def with_threads(settings: Settings, before: Mapping[str, Any]) -> Settings:
    """Returns the settings with the number of threads that a run was trained with, if its `run.json` says it.

    That of a run that began with `threads=auto`, or with all cores, followed from the machine.
    """
    threads = threads_of(before)
    if threads is None:
        return settings
    if settings.trainer.threads == "auto":
        earlier = EarlierTrainer(**vars(settings.trainer), began_with_threads=threads)
        return replace(settings, trainer=earlier)
    return replace(settings, trainer=replace(settings.trainer, threads=threads))


def threads_of(before: Mapping[str, Any]) -> int | None:
    """Returns the threads of an operation that `run.json` says, or None."""
    threads = (before.get("engine") or {}).get("threads")
    return threads if isinstance(threads, int) and 0 < threads <= MAX_THREADS else None


def has_exact_offsets(data: DataSettings) -> bool:
    """Returns whether the columns and targets of a run that are far from 0 are scaled in float64."""
    return not isinstance(data, EarlierData) or data.exact_offsets


def guesses_dates(data: DataSettings) -> bool:
    """Returns whether a text column of ISO dates is of the kind `date` in a run, unless the config says otherwise."""
    return not isinstance(data, EarlierData) or data.guesses_dates


def leaves_rows_out(data: DataSettings) -> bool:
    """Returns whether the rows that fill no batch are left out of an epoch of a run."""
    return isinstance(data, EarlierData) and data.leaves_rows_out


def _with_earlier_model(settings: Settings) -> Settings:
    """Returns the settings with a model whose first weights are those of earlier versions."""
    model = settings.model
    before = {key: value for key, value in MODELS_BEFORE.get(model.name, {}).items() if model.params.get(key) is None}
    return replace(settings, model=replace(model, params={**model.params, **before})) if before else settings


def _with_earlier_schedules(settings: Settings) -> Settings:
    groups = {
        name: replace(group, schedule=EarlierSchedule(group.schedule.name, group.schedule.params))
        if group.schedule is not None and group.schedule.name in ENDED_LATER
        else group
        for name, group in settings.groups.items()
    }
    return replace(settings, groups=groups)
