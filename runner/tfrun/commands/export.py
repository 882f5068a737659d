"""`tfrun export RUN format=…`: writes a trained run as a portable model that takes raw rows."""

from __future__ import annotations

from tfrun.commands.command_line import CommandLine, pop_word
from tfrun.commands.inputs import open_run, read_data
from tfrun.config import schema
from tfrun.errors import ConfigError, unknown
from tfrun.files import runs


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    formats, command_line = pop_formats(command_line)
    if len(formats) != 1:
        raise ConfigError(
            f"export: needs one format of {', '.join(runs.EXPORTS)}: tfrun export RUN format=saved_model. "
            f"Received: {', '.join(formats) or 'none'}"
        )
    existing = open_run(command_line, "export")
    if existing.overrides:
        first = existing.overrides[0]
        raise ConfigError(f"{first.partition('=')[0]}: export takes a run and a format. Received: {first!r}")
    config, catalog = existing.change(command_line)
    settings = schema.build_settings(config, catalog)
    table = read_data(settings, catalog)
    from tfrun.load_engine import engine

    with engine(existing.folder.log) as (experiment, _):
        experiment.export_run(settings, existing.folder, catalog=catalog, table=table, format=formats[0])
    return 0


def pop_formats(command_line: CommandLine) -> tuple[list[str], CommandLine]:
    """Returns the export formats that `format=…` names, and the command line without those words."""
    formats, rest = pop_word(command_line, "format")
    for name in formats:
        if name not in runs.EXPORTS:
            raise unknown("format", "format", name=name, known=runs.EXPORTS)
    return formats, rest
