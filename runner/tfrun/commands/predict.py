"""`tfrun predict RUN data.path=… [out=… keep=… overwrite=true]`: writes what a run predicts for raw rows."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tfrun.commands.command_line import CommandLine, pop_flag, pop_word
from tfrun.commands.inputs import open_run, paths_in, without_splits
from tfrun.config import schema
from tfrun.config.catalog import Catalog
from tfrun.config.data_paths import matching
from tfrun.config.settings import Settings
from tfrun.data.pieces import Keep, RowPieces, rows_of_piece, whole
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.sources import load_pieces, load_table
from tfrun.errors import ConfigError
from tfrun.files.disk import refuse_links_inside
from tfrun.files.prediction_formats import FORMATS, format_of
from tfrun.files.prediction_sources import record_source, refuse_other_source
from tfrun.folders import shown, typed

NAME = re.compile(r"""\s*(?:(["'])(.*?)\1\s*|([^,]+))(?:,|$)""")  # a name of a list, in quotes or not


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    outs, command_line = pop_word(command_line, "out")
    keeps, command_line = pop_word(command_line, "keep")
    overwrite, command_line = pop_flag(command_line, "overwrite")
    keep = _keep(keeps[-1]) if keeps else Keep()
    if outs:
        _check_ending(Path(outs[-1]))
    existing = open_run(command_line, "predict")
    existing.refuse_all_but_data("predict", takes="other data, out=, keep= and overwrite= only")
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
    # the first piece is read before TensorFlow loads, so that a mistake is reported at once
    pieces = rows_to_predict(settings, catalog, fitted=fitted, keep=keep).begun(rows_of_piece(fitted))
    from tfrun.load_engine import engine

    with engine(folder.log) as (experiment, _):
        experiment.predict(settings, folder, catalog=catalog, pieces=pieces, fitted=fitted, out=out)
    if out.parent == folder.predictions:
        record_source(out, source)
    return 0


def rows_to_predict(
    settings: Settings, catalog: Catalog, *, fitted: Preprocessing, keep: Keep, rows: Any = None
) -> RowPieces:
    """Returns the rows to predict: those of the config's data set, or `rows` of Python code.

    Raises:
        ConfigError: columns are to be kept of rows that have no prediction.
    """
    if settings.data.window is None:
        return load_pieces(settings.data, catalog, fitted=fitted, keep=keep, rows=rows)
    if keep.names != ():
        raise ConfigError(
            "keep: a forecast is of steps after the rows of the data, which have no cells yet; its columns are the "
            f"series, the time and the step. Received: {keep}"
        )
    return whole(load_table(settings.data, catalog, rows_only=True, fitted=fitted, rows=rows))


def _keep(text: str) -> Keep:
    """Returns what `keep=` says: `all`, a list of columns as in [id,"a, b"], or one column. Raises ConfigError."""
    if text == "all":
        return Keep(None)
    is_list = text.startswith("[") and text.endswith("]")
    parts = NAME.findall(text[1:-1]) if is_list else [("", "", text)]
    names = [quoted if quote else other.strip() if is_list else other for quote, quoted, other in parts]
    # a column without a name is named by quotes alone
    if not all(quote or name for (quote, *_), name in zip(parts, names, strict=True)):
        raise ConfigError(f"keep: must be a column, several as [NAME,NAME], or all. Received: {text!r}")
    return Keep(tuple(names))


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


def _check_ending(out: Path) -> None:
    """Raises ConfigError if a file's ending is that of no format."""
    if format_of(out) is None:
        raise ConfigError(f"out: the ending says the format. Received: {str(out)!r}. Known: {', '.join(FORMATS)}")


def _check_out(out: Path, *, read: Iterable[Path]) -> None:
    """Raises ConfigError if `out` can't be a file of predictions, or is one of the files that are read."""
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
