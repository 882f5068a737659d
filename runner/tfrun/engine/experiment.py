"""The table of contents of a run: from checked settings to a folder with results.

    train:     devices → data → build → restore → loop → test → run.json
    evaluate:  devices → data → build → the best weights → metrics
    predict:   a piece of data → devices → build → the best weights → a file of predictions, piece by piece
    report:    devices → data → build → the best weights → predictions and importance, for a page
    export:    devices → data → build → the best weights → a model of raw rows, compared in a clean process;
               an ensemble: the mean of several such models; quantized: measured on the test rows too
    find:      devices → data → build → some steps at growing rates, or of a batch size to try; nothing is written
    LoadedRun: data → build → the best weights → predictions, metrics or a Keras model, for Python code
    check:     devices → data → build → a printed summary; a component alone → its contract

How each of them is done is in the modules that they call: `training_run`, `inference.trained`, `inference.ensemble`,
`inference.quantized`, `inference.predict`, `inference.evaluated_rows`, `inference.loaded`, `finding.range_test`,
`finding.batch_trial`, `verify.checks`.
"""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tfrun.config.catalog import Catalog
from tfrun.config.settings import Settings
from tfrun.data.table import Table
from tfrun.engine import training_run
from tfrun.engine.building.alone import drive_alone
from tfrun.engine.building.reuse import Reuse, process_reuse
from tfrun.engine.building.together import Together
from tfrun.engine.finding.batch_trial import BatchTrial, try_batch_size
from tfrun.engine.finding.range_test import RangeOptions, RangeResult, range_test
from tfrun.engine.following import follow
from tfrun.engine.inference.ensemble import Member, export_ensemble
from tfrun.engine.inference.evaluated_rows import read_evaluated_rows
from tfrun.engine.inference.loaded import LoadedRun
from tfrun.engine.inference.predict import predict
from tfrun.engine.inference.quantized import export_quantized
from tfrun.engine.inference.trained import evaluate, export_run
from tfrun.engine.recording.signals import stop_on_signals
from tfrun.engine.training_run import RunOptions
from tfrun.engine.verify.checks import CheckOptions, check, check_contracts, check_data_set
from tfrun.files.runs import RunFolder

log = logging.getLogger("tfrun")
__all__ = [
    "BatchTrial",
    "CheckOptions",
    "Job",
    "LoadedRun",
    "Member",
    "RangeOptions",
    "RangeResult",
    "Reuse",
    "RunOptions",
    "check",
    "check_contracts",
    "check_data_set",
    "evaluate",
    "export_ensemble",
    "export_quantized",
    "export_run",
    "follow",
    "predict",
    "process_reuse",
    "range_test",
    "read_evaluated_rows",
    "train",
    "train_together",
    "try_batch_size",
]


@dataclass(frozen=True)
class Job:
    """One of several runs that are trained together.

    Attributes:
        settings: its config.
        folder: claimed for it.
        options: how it is started; the caches are those of all runs.
    """

    settings: Settings
    folder: RunFolder
    options: RunOptions


def train(
    settings: Settings, folder: RunFolder, *, catalog: Catalog, table: Table, options: RunOptions | None = None
) -> int:
    """Trains a run in its folder and returns the exit code; `run.json` records how it ended.

    Args:
        settings: the config.
        folder: claimed for this run, or the folder of the run to resume.
        catalog: the components that exist.
        table: the raw rows of the config's data.
        options: how the run is started.

    Raises:
        TfrunError: as `run.json` records too.
    """
    options = options or RunOptions()
    run = training_run.start(settings, folder, catalog=catalog, table=table, options=options)
    return drive_alone(run, options.reuse)


def train_together(
    jobs: Sequence[Job],
    catalog: Catalog,
    *,
    table: Table,
    reuse: Reuse,
    on_end: Callable[[int, BaseException | None], None],
    context: Callable[[int], contextlib.AbstractContextManager[Any]],
) -> None:
    """Trains runs of one structure as one program, if that is faster; each in its folder, as if it were alone.

    Args:
        jobs: the runs.
        catalog: the components that exist.
        table: the raw rows of all of them.
        reuse: the caches of this process.
        on_end: called with a run's index once it has ended, and its exception, if any.
        context: returns what is entered while a run works on its own.
    """

    def report(number: int) -> None:
        log.warning("%s: stopping after this block, saving the states", signal.Signals(number).name)

    with stop_on_signals(report, before_end=None) as signals:
        runs = [
            training_run.start(
                job.settings,
                job.folder,
                catalog=catalog,
                table=table,
                options=job.options,
                stopping=lambda *_: contextlib.nullcontext(signals),
            )
            for job in jobs
        ]
        Together(reuse).drive(runs, on_end=on_end, context=context)
