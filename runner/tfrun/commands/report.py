"""`tfrun report RUN [data=… out=FILE.html overwrite=true]`: writes one run as a page."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfrun.commands.changed_keys import changed_keys
from tfrun.commands.command_line import CommandLine, pop_flag, pop_word
from tfrun.commands.evaluate import read_rows
from tfrun.commands.inputs import ExistingRun, open_run
from tfrun.console import Terminal, say
from tfrun.data.preprocessing import Preprocessing
from tfrun.errors import CheckpointError, ConfigError, DataError
from tfrun.files import yaml_files
from tfrun.files.disk import refusals, refuse_links_inside, write_atomically
from tfrun.files.masking import masked
from tfrun.files.runs import RunFolder
from tfrun.folders import shown, typed
from tfrun.reports.evaluated_rows import EvaluatedRows
from tfrun.reports.run_page import RunPage, page
from tfrun.streams import complain


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    outs, command_line = pop_word(command_line, "out")
    overwrite, command_line = pop_flag(command_line, "overwrite")
    existing = open_run(command_line, "report")
    existing.refuse_all_but_data("report", takes="other data, out= and overwrite= only")
    existing.refuse_splits("report")
    out = _out(existing.folder, outs, overwrite=overwrite)
    evaluated, missing = None, ""
    try:
        evaluated = _read_evaluated_rows(existing, command_line)
    except (CheckpointError, ConfigError, DataError) as error:
        if existing.overrides:  # these rows are what was asked for
            raise
        missing = masked(" ".join(str(error).split()))
        complain(f"warning: the page has no predictions: {missing}")
    text = page(_described(existing, command_line, evaluated=evaluated, missing=missing))
    with refusals(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, text)
    say(Terminal(), shown(out))
    return 0


def _out(folder: RunFolder, outs: list[str], *, overwrite: bool) -> Path:
    """Returns the file to write. Raises ConfigError if it can't be one, or exists and isn't the run's own page."""
    out = typed(outs[-1]) if outs else folder.report
    if out.suffix != ".html":
        raise ConfigError(f"out: must be an .html file. Received: {outs[-1]!r}")
    if out.is_dir():
        raise ConfigError(f"out: must be a file, not a folder. Received: {shown(out)!r}")
    refuse_links_inside(folder.path, out)
    if os.path.lexists(out) and not overwrite and out != folder.report:
        raise ConfigError(f"out: the file exists; overwrite=true replaces it. Received: {shown(out)!r}")
    return out


def _read_evaluated_rows(existing: ExistingRun, command_line: CommandLine) -> EvaluatedRows:
    """Returns the test rows with their predictions. Raises TfrunError if there is nothing to predict, or with."""
    settings, rows = read_rows(existing, command_line)
    from tfrun.load_engine import engine

    with engine(existing.folder.log) as (experiment, _):
        evaluated: EvaluatedRows = experiment.read_evaluated_rows(settings, existing.folder, **rows)
    return evaluated


def _described(
    existing: ExistingRun, command_line: CommandLine, *, evaluated: EvaluatedRows | None, missing: str
) -> RunPage:
    """Returns what the page shows, of which the run's own files may lack anything but its config."""
    folder, config = existing.folder, existing.config
    run = folder.read_run()
    return RunPage(
        title=f"{config.get('name')}: {folder.run_id}",
        run=run,
        model=_name(config["model"]),
        data=_name(config["data"]),
        curves=folder.read_metrics() if folder.metrics_jsonl.exists() else [],
        evaluated=evaluated,
        missing=missing,
        columns=_columns(folder),
        changes=changed_keys(config, command_line.sources.absolute()),
        config=masked(yaml_files.read_text(folder.config_yaml)),
    )


def _name(section: Mapping[str, Any]) -> str:
    return str(section.get("name"))


def _columns(folder: RunFolder) -> dict[str, list[str]]:
    """Returns the columns that the run has learnt by kind, those of texts with their number of values."""
    if not folder.preprocessing_json.exists():
        return {}
    fitted = Preprocessing.from_fields(folder.read_preprocessing(), source=str(folder.preprocessing_json))
    columns: dict[str, list[str]] = {}
    for column in fitted.columns:
        values = getattr(column, "values", None)
        name = column.name if values is None else f"{column.name} ({len(values)})"
        columns.setdefault(column.kind.name, []).append(name)
    return columns
