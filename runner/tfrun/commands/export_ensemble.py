"""`tfrun export PATH… ensemble=best3 format=…`: writes the mean of several runs as one portable model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tfrun.commands.command_line import CommandLine
from tfrun.commands.export_options import ExportOptions
from tfrun.commands.exported_run import ExportedRun
from tfrun.commands.inputs import ExistingRun, needed_files, read_config
from tfrun.commands.serving_commands import say_how_to_serve
from tfrun.commands.stored_rows import stored_rows
from tfrun.config import schema
from tfrun.data.sources import load_table
from tfrun.errors import ConfigError
from tfrun.files.disk import refuse_links_inside
from tfrun.files.runs import RunFolder
from tfrun.folders import typed, work_in


def run(command_line: CommandLine, *, options: ExportOptions, which: str) -> int:
    """Runs the command and returns the exit code.

    Args:
        command_line: names the runs, or folders with runs.
        options: the format and the place; by default it is the folder `export` of the first path.
        which: `best<n>`, or `all`.

    Raises:
        ConfigError: there aren't as many completed runs, or the command line says something else too.
    """
    if command_line.settings:
        raise ConfigError(
            f"export: an ensemble takes folders, format, ensemble and out only. Received: {command_line.settings[0]!r}"
        )
    folders = _members(command_line.names, which)
    target = typed(options.out) if options.out else Path(command_line.names[0]).expanduser().absolute() / "export"
    run_id = ", ".join(folder.run_id for folder in folders)
    existing = [ExistingRun(folder, read_config(folder), []) for folder in folders]
    export_to = options.export_to(target, run_id=run_id, is_own_folder=False, config=existing[0].config)
    refuse_links_inside(Path(command_line.names[0]).expanduser().absolute(), export_to.path.parent)
    export_to.refuse_to_replace()
    work_in(folders[0].first_folder(needed_files(existing[0].config)))
    runs, catalogs = [], []
    for run in existing:
        config, catalog = run.change(command_line.with_words([]))
        settings = schema.build_settings(config, catalog, reads_data=False)
        runs.append(ExportedRun(run.folder, config, settings, run.read_preprocessing()))
        catalogs.append(catalog)
    first = runs[0]
    table = stored_rows(first.folder, first.fitted) or load_table(first.settings.data, catalogs[0], fitted=first.fitted)
    from tfrun.load_engine import engine

    with engine(None) as (experiment, _):
        members = [
            experiment.Member(each.settings, each.folder, each.fitted, catalog)
            for each, catalog in zip(runs, catalogs, strict=True)
        ]
        checked = experiment.export_ensemble(members, table=table, export_to=export_to)
    from tfrun.commands.model_card import write_card  # here, since it reads YAML as comparisons do

    write_card(export_to, runs, checked)
    say_how_to_serve(export_to)
    return 0


def _members(paths: Sequence[str], which: str) -> list[RunFolder]:
    """Returns the folders of the best completed runs, best first."""
    match = re.fullmatch(r"best([1-9]\d*)", which)
    if match is None and which != "all":
        raise ConfigError(f"ensemble: must be all, or best and a number. Received: {which!r}. Example: ensemble=best3")
    if not paths:
        raise ConfigError("export: needs a sweep or several runs: tfrun export multirun/… ensemble=best3 format=keras")
    from tfrun.reports.comparison import compare

    done = compare(paths).done
    count = int(match[1]) if match else len(done)
    if len(done) < max(count, 1):
        raise ConfigError(f"ensemble: there are {len(done)} completed runs. Received: {which}")
    return [row.folder for row in done[:count]]
