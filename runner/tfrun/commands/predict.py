"""`tfrun predict RUN data.path=… [out=… overwrite=true]`: writes a run's predictions for raw rows into a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tfrun.commands.command_line import CommandLine, pop_flag, pop_word
from tfrun.commands.inputs import open_run, paths_in, without_splits
from tfrun.config import schema
from tfrun.config.data_paths import matching
from tfrun.data.sources import load_table
from tfrun.errors import ConfigError
from tfrun.files.disk import refuse_links_inside
from tfrun.files.prediction_sources import record_source, refuse_other_source
from tfrun.folders import shown, typed


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    outs, command_line = pop_word(command_line, "out")
    overwrite, command_line = pop_flag(command_line, "overwrite")
    existing = open_run(command_line, "predict")
    existing.refuse_all_but_data("predict")
    existing.refuse_splits("predict")
    config, catalog = existing.change(command_line)
    config = without_splits(config)
    folder = existing.folder
    out = typed(outs[-1]) if outs else folder.predictions / f"{_stem(config['data'])}.csv"
    refuse_links_inside(folder.path, out)
    _check_out(out, read=[*_files_in(existing.config["data"]), *_files_in(config["data"])])
    source = _source(config["data"])
    if outs and not overwrite and os.path.lexists(out):
        raise ConfigError(f"out: the file exists; overwrite=true replaces it. Received: {shown(out)!r}")
    if not outs and not overwrite:
        refuse_other_source(out, source)
    settings = schema.build_settings(config, catalog, overrides=existing.overrides)
    fitted = existing.read_preprocessing()
    table = load_table(settings.data, catalog, rows_only=True, fitted=fitted)
    from tfrun.load_engine import engine

    with engine(folder.log) as (experiment, _):
        experiment.predict(settings, folder, catalog=catalog, table=table, fitted=fitted, out=out)
    if out.parent == folder.predictions:
        record_source(out, source)
    return 0


def _stem(data: Mapping[str, Any]) -> str:
    """Returns the name of the file of predictions, without its ending; a rerun replaces the file of this name."""
    paths = paths_in(data).get("path")
    if not paths:
        return str(data.get("name"))
    first = next(iter(matching(paths[0])), paths[0])  # of the files of a pattern
    return Path(first).stem.removesuffix(".csv")  # of rows.csv.gz too


def _source(data: Mapping[str, Any]) -> str:
    """Returns the absolute paths that a config's data name, or the name of the data set if there are none."""
    paths = [path for paths in paths_in(data).values() for path in paths]
    return ", ".join(os.path.abspath(Path(path).expanduser()) for path in paths) or str(data.get("name"))


def _check_out(out: Path, *, read: Iterable[Path]) -> None:
    """Raises ConfigError if `out` can't be a file of predictions, or is one of the files that are read."""
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"out: must be a .csv or a .parquet file. Received: {shown(out)!r}")
    if out.is_dir():
        raise ConfigError(f"out: must be a file, not a folder. Received: {shown(out)!r}")
    for path in read:
        if out.exists() and out.samefile(path):  # or a link to it
            raise ConfigError(
                f"out: {path} is a file of data, which predictions never replace. Received: {shown(out)!r}"
            )


def _files_in(value: Any) -> Iterator[Path]:
    """Yields the files that any value in a section of a config names."""
    if isinstance(value, str):
        with contextlib.suppress(OSError, ValueError):  # a text that can't be a path
            yield from (path for path in map(Path, matching(value)) if path.is_file())
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _files_in(item)
