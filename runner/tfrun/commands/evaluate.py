"""`tfrun evaluate RUN [data=…]`: the metrics of a trained run on its test split, or on other data."""

from __future__ import annotations

from tfrun.commands.command_line import CommandLine
from tfrun.commands.inputs import open_run, read_data
from tfrun.config import schema


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    existing = open_run(command_line, "evaluate")
    existing.refuse_all_but_data("evaluate")
    config, catalog = existing.change(command_line)
    settings = schema.build_settings(config, catalog, overrides=existing.overrides)
    table = read_data(settings, catalog)
    from tfrun.load_engine import engine

    folder = existing.folder
    with engine(folder.log) as (experiment, _):
        experiment.evaluate(settings, folder, catalog=catalog, table=table, other_data=bool(existing.overrides))
    return 0
