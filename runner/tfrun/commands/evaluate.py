"""`tfrun evaluate RUN [data=…]`: the metrics of a trained run on its test split, or on other data."""

from __future__ import annotations

from typing import Any

from tfrun.commands.command_line import CommandLine
from tfrun.commands.inputs import ExistingRun, open_run, without_splits
from tfrun.config import schema
from tfrun.config.overrides import parse
from tfrun.config.settings import Settings
from tfrun.data.sources import load_table

# the keys that change neither the rows nor what is evaluated
SAME_DATA = ("data.batch_size", "data.residency", "data.cache")


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    existing = open_run(command_line, "evaluate")
    existing.refuse_all_but_data("evaluate")
    existing.refuse_splits("evaluate")
    settings, rows = read_rows(existing, command_line)
    from tfrun.load_engine import engine

    with engine(existing.folder.log) as (experiment, _):
        experiment.evaluate(settings, existing.folder, **rows)
    return 0


def read_rows(existing: ExistingRun, command_line: CommandLine) -> tuple[Settings, dict[str, Any]]:
    """Reads the rows to evaluate a run on: its own, or those of the data that the command line names.

    Returns:
        The settings, and by keyword what the engine needs besides: `catalog`, `table`, `fitted` and `other_data`.

    Raises:
        TfrunError: the config or the data can't be read.
    """
    config, catalog = existing.change(command_line)
    other_data = any(override.key_or_group not in SAME_DATA for override in parse(existing.overrides))
    config = without_splits(config) if other_data else config
    settings = schema.build_settings(config, catalog, overrides=existing.overrides)
    fitted = existing.read_preprocessing()
    table = load_table(settings.data, catalog, fitted=fitted)
    return settings, {"catalog": catalog, "table": table, "fitted": fitted, "other_data": other_data}
