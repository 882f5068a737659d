"""`tfrun predict RUN data.path=… [out=…]`: writes a trained run's predictions for raw rows into a file."""

from __future__ import annotations

from pathlib import Path

from tfrun.commands.command_line import CommandLine, pop_word
from tfrun.commands.inputs import open_run
from tfrun.config import schema
from tfrun.config.settings import DataSettings
from tfrun.data.sources import load_table
from tfrun.errors import ConfigError


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    outs, command_line = pop_word(command_line, "out")
    existing = open_run(command_line, "predict")
    existing.refuse_all_but_data("predict")
    config, catalog = existing.change(command_line)
    settings = schema.build_settings(config, catalog, overrides=existing.overrides)
    folder = existing.folder
    out = Path(outs[-1]).expanduser() if outs else folder.predictions / f"{_stem(settings.data)}.csv"
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"out: must be a .csv or a .parquet file. Received: {str(out)!r}")
    fitted = existing.read_preprocessing()
    table = load_table(settings.data, catalog, rows_only=True, fitted=fitted)
    from tfrun.load_engine import engine

    with engine(folder.log) as (experiment, _):
        experiment.predict(settings, folder, catalog=catalog, table=table, fitted=fitted, out=out)
    return 0


def _stem(data: DataSettings) -> str:
    """Returns the name of the file of predictions, without its ending."""
    return Path(str(data.params["path"])).stem if data.params.get("path") else data.name
