"""A trained run, opened in Python."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrun.commands.command_line import CommandLine
from tfrun.commands.inputs import ExistingRun, needed_files, read_config, without_splits
from tfrun.commands.predict import rows_to_predict
from tfrun.commands.run_names import path_of
from tfrun.commands.stored_rows import stored_rows
from tfrun.config import schema
from tfrun.config.catalog import Catalog
from tfrun.config.settings import Settings
from tfrun.data.pieces import Keep, rows_of_piece
from tfrun.data.sources import load_table
from tfrun.errors import ConfigError
from tfrun.files import runs
from tfrun.files.runs import RunFolder
from tfrun.files.strict_json import defined
from tfrun.folders import returning_to_folder, work_in
from tfrun.python_api import process
from tfrun.python_api.display import display_for
from tfrun.python_api.frames import FrameKind, as_frame, check_kind, default_kind, is_pandas, kind_of

_one_at_a_time = threading.RLock()  # a run works in the folder of its first command, and a process has one folder


def open(path: str | os.PathLike[str]) -> Run:
    """Returns the run in a folder, whether it still trains or has ended.

    Args:
        path: the folder, or one of the shorter names that commands take: `latest`, `best`, the beginning of an id.

    Raises:
        ConfigError: the folder is no run's.
        CheckpointError: its config is damaged.
    """
    path = path_of(os.fspath(path))
    if runs.open_sweep(os.fspath(path)) is not None:
        raise ConfigError(f"{path}: is a sweep; tfrun.runs({os.fspath(path)!r}) is a table of its runs")
    folder = runs.open_run(path)
    read_config(folder)
    return Run(folder)


@dataclass(frozen=True)
class _Inputs:
    """What a call needs of a run's files.

    Attributes:
        existing: the run.
        config: its config.
        catalog: the components.
    """

    existing: ExistingRun
    config: dict[str, Any]
    catalog: Catalog


class Run:
    """A run; `tfrun.open` and `tfrun.run` return one. Its files are read when they are asked for.

    Attributes:
        path: its folder.
    """

    def __init__(self, folder: RunFolder):
        self.path = folder.path
        self._folder = folder
        self._loaded: tuple[object, Any] | None = None  # the state that was loaded, and the engine's LoadedRun

    def __repr__(self) -> str:
        return f"<tfrun.Run {self.path}: {self.status}>"

    @property
    def config(self) -> dict[str, Any]:
        """The whole config in plain mappings and lists: `config["optimizer"]["learning_rate"]`."""
        return read_config(self._folder)

    @property
    def status(self) -> str:
        """The status in run.json: `running`, `completed`, `stopped`, `failed`, `diverged` or `pruned`.

        It is `not started` as long as there is no run.json.
        """
        return str(self._folder.read_run().get("status", "not started"))

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the last epoch and of the test, by full name: `val/loss`. Undefined ones are nan."""
        return _numbers(self._folder.read_run().get("metrics", {}))

    @property
    def best(self) -> dict[str, float]:
        """The metrics of the epoch whose weights are the best, and its `epoch` and `step`."""
        return _numbers(self._folder.read_run().get("best", {}))

    def history(self, *, frame: FrameKind | None = None) -> Any:
        """Returns the metrics of each epoch: a pandas frame, else a polars frame, else a mapping of arrays.

        Its columns are `epoch`, `step` and the metrics by full name, nan where one isn't known.

        Args:
            frame: "pandas", "polars", "columns" for a mapping of arrays, or "records" for a list of mappings.
        """
        check_kind(frame)
        try:
            lines = self._folder.read_metrics()
        except FileNotFoundError:
            lines = []
        epochs: dict[int, dict[str, float]] = {}
        for line in lines:  # the test has a line of its own, whose metrics aren't those of an epoch
            of_epoch = {name: value for name, value in _numbers(line).items() if not name.startswith("test/")}
            epochs.setdefault(line["epoch"], {}).update(of_epoch)
        names = dict.fromkeys(["epoch", "step", *(name for values in epochs.values() for name in values)])
        columns = {name: [values.get(name, float("nan")) for values in epochs.values()] for name in names}
        return as_frame(columns, frame or default_kind())

    def predict(self, rows: Any, *, frame: FrameKind | None = None) -> Any:
        """Returns what the best weights predict, in the unit of the target: the columns that `tfrun predict` writes.

        A regression has a column with the target's name; a classification has the likeliest class, and the probability
        of each class, `<target>=<class>`. For windows of series these are the steps after the last row of each series.

        Args:
            rows: a pandas or polars frame, a mapping of columns, or the path of a file like that of the run. Targets
                aren't needed, and further columns are ignored.
            frame: "pandas", "polars", "columns" for a mapping of arrays, or "records" for a list of mappings; None
                takes what the rows are. A pandas frame has the index of the rows.

        Raises:
            TfrunError: the run has no checkpoint, or the rows can't be used.
        """
        check_kind(frame)
        with self._working(rows) as (inputs, given):
            settings = self._settings(inputs, reads_data=given is None)
            fitted = inputs.existing.read_preprocessing()
            pieces = rows_to_predict(settings, inputs.catalog, fitted=fitted, keep=Keep(), rows=given)
            begun = pieces.begun(rows_of_piece(fitted))
            with self._engine() as engine:
                state = (self._folder.read_run().get("step"), self._folder.run_json.stat().st_mtime_ns)
                if self._loaded is None or self._loaded[0] != state:
                    self._loaded = (
                        state,
                        engine.LoadedRun(settings, self._folder, catalog=inputs.catalog, fitted=fitted),
                    )
                result = self._loaded[1].predict(begun)
        _warn(result.warnings)
        index = rows.index if is_pandas(rows) and fitted.window is None else None
        return as_frame(result.values, frame or kind_of(rows), index=index)

    def evaluate(self, rows: Any = None) -> dict[str, float]:
        """Returns the metrics of the best weights by full name, `test/loss`: what `tfrun evaluate` prints.

        Args:
            rows: as for `predict`, with targets; None takes the test rows of the run's own data.

        Raises:
            TfrunError: the run has no checkpoint, its own data have changed, or the rows can't be used.
        """
        with self._working(rows) as (inputs, given):
            settings = self._settings(inputs, reads_data=given is None)
            fitted = inputs.existing.read_preprocessing()
            table = load_table(settings.data, inputs.catalog, fitted=fitted, rows=given)
            with self._engine() as engine:
                loaded = engine.LoadedRun(settings, self._folder, catalog=inputs.catalog, fitted=fitted)
                result = loaded.evaluate(table, other_data=rows is not None)
        _warn(result.warnings)
        return dict(result.values)

    def model(self) -> Any:
        """Returns a new `keras.Model` of raw rows with the best weights: what `tfrun export` writes.

        Its inputs are a mapping of columns, (B, 1) each: numbers, nan for empty cells, and texts. Its outputs are
        predictions in the unit of the target, (B, 1), or the probability of each class, (B, K).

        Raises:
            TfrunError: the run has no checkpoint.
        """
        with self._working(None) as (inputs, _):
            fitted = inputs.existing.read_preprocessing()
            stored = stored_rows(self._folder, fitted)
            settings = self._settings(inputs, reads_data=stored is None)
            table = stored or load_table(settings.data, inputs.catalog, fitted=fitted)
            with self._engine() as engine:
                loaded = engine.LoadedRun(settings, self._folder, catalog=inputs.catalog, fitted=fitted)
                return loaded.portable(table)

    def resume(self, *overrides: str, show: bool = True) -> Run:
        """Continues the run as `tfrun resume` does, and returns it.

        Args:
            overrides: as on the command line: "trainer.max_epochs=40".
            show: whether to show what the command prints.

        Raises:
            TfrunError: as the command reports it.
            KeyboardInterrupt: it was interrupted before there was a new state to save.
            RuntimeError: a bug of a component or of tfrun, whose traceback is shown.
        """
        process.train(["resume", str(self.path), *overrides], display_for(show=show))
        return self

    @contextlib.contextmanager
    def _working(self, rows: Any) -> Iterator[tuple[_Inputs, Any]]:
        """Yields what a call needs, and the rows if they are in memory, in the folder of the run's first command."""
        path = Path(rows).expanduser().absolute() if isinstance(rows, str | os.PathLike) else None
        with _one_at_a_time, returning_to_folder():
            existing = ExistingRun(self._folder, read_config(self._folder), [])
            work_in(self._folder.first_folder(needed_files(existing.config)))
            config, catalog = existing.change(CommandLine())
            if rows is not None:
                config = without_splits(config)
            if path is not None:
                config = {**config, "data": {**config["data"], "path": str(path)}}
                rows = None
            elif is_pandas(rows) and rows.index.name is None:
                rows = rows.reset_index(drop=True)  # Arrow would make it a column
            yield _Inputs(existing, config, catalog), rows

    def _settings(self, inputs: _Inputs, *, reads_data: bool) -> Settings:
        return schema.build_settings(inputs.config, inputs.catalog, reads_data=reads_data)

    @contextlib.contextmanager
    def _engine(self) -> Iterator[Any]:
        """Yields `tfrun.engine.experiment`; what libraries print meanwhile is in the run's log."""
        from tfrun.load_engine import engine

        with engine(self._folder.log) as (experiment, _):
            yield experiment


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of a mapping of `run.json`, nan for undefined ones; `monitor` is a name, and left out."""
    named = {name: value for name, value in values.items() if not isinstance(value, str)}
    return {name: float("nan") if defined(value) is None else value for name, value in named.items()}


def _warn(lines: list[str]) -> None:
    """Warns of rows, where the run's method is called."""
    for line in lines:
        warnings.warn(line, stacklevel=3)
