"""`tfrun export RUN format=… [out=…]`: writes a trained run, or several, as a portable model that takes raw rows."""

from __future__ import annotations

from tfrun.commands import export_ensemble
from tfrun.commands.command_line import CommandLine
from tfrun.commands.export_options import OPTIONS, pop_options
from tfrun.commands.exported_run import ExportedRun
from tfrun.commands.inputs import open_run
from tfrun.commands.serving_commands import say_how_to_serve
from tfrun.commands.stored_rows import stored_rows
from tfrun.config import schema
from tfrun.config.settings import Settings
from tfrun.data.sources import load_table
from tfrun.errors import ConfigError, DataError
from tfrun.files.disk import refuse_links_inside
from tfrun.folders import typed


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    options, command_line = pop_options(command_line)
    if options.ensemble:
        return export_ensemble.run(command_line, options=options, which=options.ensemble)
    existing = open_run(command_line, "export")
    existing.refuse_all_but_data("export", f"a run, data and {', '.join(OPTIONS)} only")
    folder = existing.folder
    out = typed(options.out) if options.out else folder.exports
    is_own = out.resolve() == folder.exports
    export_to = options.export_to(out, run_id=folder.run_id, is_own_folder=is_own, config=existing.config)
    refuse_links_inside(folder.path, export_to.path.parent)
    export_to.refuse_to_replace()
    config, catalog = existing.change(command_line)
    fitted = existing.read_preprocessing()
    quantization = options.quantization
    stored = None if existing.overrides or quantization else stored_rows(folder, fitted)
    try:
        settings = schema.build_settings(config, catalog, overrides=existing.overrides, reads_data=stored is None)
        if quantization:
            _require_metric(settings, quantization.kind)
        table = stored or load_table(settings.data, catalog, fitted=fitted)
    except DataError as error:
        if existing.overrides:
            raise
        needs = "The run has stored no rows to compare an export with, so it needs the data that it was trained on"
        if quantization:
            needs = f"quantize={quantization.kind} measures the run's metric on the data that it was trained on"
        raise DataError(f"{error} {needs}: data.path=FILE") from error
    from tfrun.load_engine import engine

    inputs = {"catalog": catalog, "table": table, "fitted": fitted, "export_to": export_to}
    with engine(folder.log) as (experiment, _):
        if quantization:
            checked = experiment.export_quantized(settings, folder, **inputs, quantization=quantization)
        else:
            checked = experiment.export_run(settings, folder, **inputs, is_stored=stored is not None)
    from tfrun.commands.model_card import write_card  # here, since it reads YAML as comparisons do

    write_card(export_to, [ExportedRun(folder, config, settings, fitted)], checked)
    say_how_to_serve(export_to)
    return 0


def _require_metric(settings: Settings, kind: str) -> None:
    """Raises ConfigError if a run has no metric that quantizing it could be measured by."""
    if not settings.metric:
        raise ConfigError(
            f"quantize: needs a metric of the run, by which the drop is measured. Received: quantize={kind} of a run "
            "with metric=none"
        )
