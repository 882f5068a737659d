"""`tfrun export RUN format=… [out=…]`: writes a trained run, or several, as a portable model that takes raw rows."""

from __future__ import annotations

from tfrun.commands import export_ensemble
from tfrun.commands.command_line import CommandLine, pop_word
from tfrun.commands.inputs import open_run
from tfrun.commands.stored_rows import stored_rows
from tfrun.config import schema
from tfrun.data.sources import load_table
from tfrun.errors import ConfigError, DataError, unknown
from tfrun.files import runs
from tfrun.files.disk import refuse_links_inside
from tfrun.files.exports import Export
from tfrun.folders import typed


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    formats, command_line = pop_formats(command_line)
    outs, command_line = pop_word(command_line, "out")
    ensemble, command_line = pop_word(command_line, "ensemble")
    if len(formats) != 1:
        raise ConfigError(
            f"export: needs one format of {', '.join(runs.EXPORTS)}: tfrun export RUN format=saved_model. "
            f"Received: {', '.join(formats) or 'none'}"
        )
    if ensemble:
        return export_ensemble.run(command_line, format=formats[0], out=outs[-1] if outs else None, which=ensemble[-1])
    existing = open_run(command_line, "export")
    existing.refuse_all_but_data("export", "a run, a format, out and data only")
    folder = existing.folder
    out = typed(outs[-1]) if outs else folder.exports
    refuse_links_inside(folder.path, out)
    export_to = Export(formats[0], out, run_id=folder.run_id, is_own_folder=out.resolve() == folder.exports)
    export_to.refuse_to_replace()
    config, catalog = existing.change(command_line)
    fitted = existing.read_preprocessing()
    stored = None if existing.overrides else stored_rows(folder, fitted)
    try:
        settings = schema.build_settings(config, catalog, overrides=existing.overrides, reads_data=stored is None)
        table = stored or load_table(settings.data, catalog, fitted=fitted)
    except DataError as error:
        if existing.overrides:
            raise
        advice = "The run has stored no rows to compare an export with, so it needs the data that it was trained on"
        raise DataError(f"{error} {advice}: data.path=FILE") from error
    from tfrun.load_engine import engine

    options = {"table": table, "fitted": fitted, "export_to": export_to, "is_stored": stored is not None}
    with engine(folder.log) as (experiment, _):
        checked = experiment.export_run(settings, folder, catalog=catalog, **options)
    from tfrun.commands.model_card import write_card  # here, since it reads YAML as comparisons do

    write_card(export_to, [(folder, config, settings, fitted)], checked)
    return 0


def pop_formats(command_line: CommandLine) -> tuple[list[str], CommandLine]:
    """Returns the export formats that `format=…` names, and the command line without those words."""
    formats, rest = pop_word(command_line, "format")
    for name in formats:
        if name not in runs.EXPORTS:
            raise unknown("format", "format", name=name, known=runs.EXPORTS)
    return formats, rest
