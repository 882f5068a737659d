"""`tfrun predict RUN data.path=… [out=…]`: writes a trained run's predictions for raw rows into a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tfrun.commands.command_line import CommandLine, pop_word
from tfrun.commands.inputs import open_run
from tfrun.config import schema
from tfrun.config.settings import DataSettings
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.sources import load_table
from tfrun.errors import ConfigError
from tfrun.files.runs import RunFolder


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
    settings = replace(settings, data=_with_columns_of_run(settings.data, folder))
    table = load_table(settings.data, catalog, rows_only=True)
    from tfrun.load_engine import engine

    with engine(folder.log) as (experiment, _):
        experiment.predict(settings, folder, catalog=catalog, table=table, out=out)
    return 0


def _stem(data: DataSettings) -> str:
    """Returns the name of the file of predictions, without its ending."""
    return Path(str(data.params["path"])).stem if data.params.get("path") else data.name


def _with_columns_of_run(data: DataSettings, folder: RunFolder) -> DataSettings:
    """Returns the data set with the columns that the run was trained on; the rows may have others."""
    fitted = Preprocessing.from_fields(folder.read_preprocessing())
    wanted: dict[str, Any] = {"columns": fitted.cell_names, "exclude": None, "text_columns": fitted.text_names}
    params = data.params | {key: value for key, value in wanted.items() if key in data.params}
    return replace(data, params=params)
