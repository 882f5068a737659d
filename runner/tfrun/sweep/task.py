"""The calls into the engine that a sweep makes: training jobs, and the rows of jobs in TensorBoard's HParams table."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tfrun.config.catalog import Catalog
from tfrun.config.cross_checks import check_task
from tfrun.config.settings import DataSettings
from tfrun.data.table import Table, load_table
from tfrun.load_engine import engine
from tfrun.sweep.jobs import Job

Tell = Callable[..., None]  # called with step, last step, epoch, values, and whether an epoch has just ended


def train(job: Job, catalog: Catalog, *, tell: Tell | None = None, is_pruned: Callable[[], bool] | None = None) -> None:
    """Trains a job in its folder, which exists.

    Args:
        job: composed and checked.
        catalog: the components.
        tell: receives the progress.
        is_pruned: returns whether to stop the job early; asked after each block.
    """
    table = _tables.load(job.settings.data, catalog)
    check_task(job.settings, catalog, table.task)
    with engine(job.folder.log) as (experiment, seconds):
        experiment.train(
            job.settings,
            job.folder,
            catalog,
            table,
            resume=job.resume and job.folder.run_json.exists(),
            overrides=job.overrides,
            hparams=job.hparams,
            import_seconds=seconds,
            tell=tell,
            is_pruned=is_pruned,
            pause_epoch=job.pause_epoch,
        )


def train_together(
    jobs: Sequence[Job],
    catalog: Catalog,
    *,
    tell: Sequence[Tell],
    ended: Callable[[int, BaseException | None], None],
    within: Callable[[int], contextlib.AbstractContextManager[Any]],
) -> None:
    """Trains jobs of one structure together, each in its folder.

    Args:
        jobs: composed and checked.
        catalog: the components.
        tell: receives the progress of each job.
        ended: called with the index of a job that has ended and its exception, if any.
        within: returns the context in which the job of an index prints and writes.
    """
    table = _tables.load(jobs[0].settings.data, catalog)
    check_task(jobs[0].settings, catalog, table.task)
    with engine(None) as (experiment, seconds):
        runs = [
            {
                "settings": job.settings,
                "folder": job.folder,
                "overrides": job.overrides,
                "hparams": job.hparams,
                "import_seconds": seconds,
                "tell": tell_of_job,
            }
            for job, tell_of_job in zip(jobs, tell, strict=True)
        ]
        experiment.train_together(runs, catalog, table, ended, within)


class TableCache:
    """Keeps the raw rows of the last job, because the next job of the same process mostly has the same."""

    def __init__(self) -> None:
        self._key: Any = None
        self._table: Table | None = None

    def load(self, data: DataSettings, catalog: Catalog) -> Table:
        """Returns the rows of a data set; they are read again if its settings or its file have changed."""
        path = Path(str(data.params.get("path", ""))).expanduser()
        file = path.stat() if path.is_file() else None
        key = json.dumps(data.to_dict(), sort_keys=True), file and (file.st_mtime_ns, file.st_size, file.st_ino)
        if self._table is None or self._key != key:
            self._table = load_table(data, catalog)
            self._key = key
        return self._table


_tables = TableCache()


def write_hparams_row(job: Job, status: str) -> None:
    """Writes the row of a job in TensorBoard's HParams table, for a failed or pruned job that didn't write it."""
    from tfrun.engine.recording.tensorboard import TensorBoard, summary_metrics

    run = job.folder.read_run()
    board = TensorBoard(job.folder.tensorboard)
    with contextlib.suppress(OSError):  # the disk itself may be the cause of the failure
        board.write_hparams(job.folder.run_id, job.hparams, summary_metrics(run["metrics"], run["best"]), status)
        board.close()
