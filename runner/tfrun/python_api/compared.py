"""Makes a table of runs, as `tfrun compare` orders them."""

from __future__ import annotations

import os
from typing import Any

from tfrun.commands.run_names import path_of
from tfrun.errors import ConfigError
from tfrun.files.strict_json import defined
from tfrun.python_api.frames import FrameKind, as_frame, check_kind, default_kind
from tfrun.reports.comparison import Row, compare

NAN = float("nan")


def runs(
    *paths: str | os.PathLike[str], metric: str | None = None, mode: str | None = None, frame: FrameKind | None = None
) -> Any:
    """Returns a table of runs, best first: a pandas frame, else a polars frame, else a list of mappings.

    A row has the run's folder (`run`), its `status` and `epoch`, the metrics of its best epoch and of the test by their
    full names (`val/loss`), and the config keys that differ between the runs. A metric that a run doesn't have, or that
    isn't defined, is nan.

    Args:
        paths: run folders, sweeps, or folders that contain such.
        metric: the metric to order by; None takes what chose the first run's best weights.
        mode: "min" or "max"; None takes the better direction of the metric.
        frame: "pandas", "polars", "columns" for a mapping of arrays, or "records" for a list of mappings.

    Raises:
        ConfigError: there are no runs, or none has the metric.
    """
    check_kind(frame)
    if not paths:
        raise ConfigError("runs: needs folders with runs, for example: tfrun.runs('multirun/default')")
    comparison = compare([path_of(os.fspath(path)) for path in paths], metric, mode=mode)
    rows = comparison.rows
    values = [_values(row) for row in rows]
    metrics = dict.fromkeys(name for of_run in values for name in of_run)
    first = [comparison.metric] if comparison.metric in metrics else []
    columns: dict[str, Any] = {
        "run": [str(row.folder.path) for row in rows],
        "status": [row.run["status"] for row in rows],
        "epoch": [row.run["epoch"] for row in rows],
    }
    columns |= {name: [of_run.get(name, NAN) for of_run in values] for name in dict.fromkeys([*first, *metrics])}
    columns |= {key: [row.config.get(key) for row in rows] for key in comparison.keys}
    return as_frame(columns, frame or default_kind(without="records"))


def _values(row: Row) -> dict[str, float]:
    """Returns a run's metrics: those of its best epoch, and those of the test."""
    best, last = row.run["best"], row.run["metrics"]
    chosen = {**(best or last), **{name: value for name, value in last.items() if name.startswith("test/")}}
    return {name: NAN if defined(value) is None else value for name, value in chosen.items() if "/" in name}
