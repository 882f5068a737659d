"""Trains the jobs of a sweep as single runs are trained."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from tfrun.config.catalog import Catalog
from tfrun.config.cross_checks import check_task
from tfrun.config.earlier_runs import as_it_began
from tfrun.config.run_words import trial_name
from tfrun.config.schema import build_settings
from tfrun.data.facts import resolve_config
from tfrun.data.sources import load_table
from tfrun.data.table import Table
from tfrun.errors import ResourceError
from tfrun.load_engine import engine
from tfrun.sweep.jobs import Job

Report = Callable[..., None]  # called with step, last step, epoch, values, and whether an epoch has ended


def train(
    job: Job,
    catalog: Catalog,
    *,
    report: Report | None = None,
    is_pruned: Callable[[], bool] = lambda: False,
    ends_at_once: bool = True,
) -> None:
    """Trains a job in its folder, which exists.

    Args:
        job: composed and checked.
        catalog: the components that exist.
        report: receives the progress.
        is_pruned: returns whether to stop the job early; asked after each block.
        ends_at_once: whether a second signal ends this process at once.
    """
    with engine(job.folder.log) as (experiment, seconds):
        job, table = _with_table(job, catalog, reuse=experiment.process_reuse())
        options = experiment.RunOptions(
            resume=job.resume and job.folder.run_json.exists(),
            overrides=job.overrides,
            hparams=job.columns,
            words=job.words,
            import_seconds=seconds,
            report=report,
            is_pruned=is_pruned,
            ends_at_once=ends_at_once,
            pause_epoch=job.pause_epoch,
        )
        experiment.train(job.settings, job.folder, catalog=catalog, table=table, options=options)


def train_together(
    jobs: Sequence[Job],
    catalog: Catalog,
    *,
    reports: Sequence[Report],
    on_end: Callable[[int, BaseException | None], None],
    context: Callable[[int], contextlib.AbstractContextManager[Any]],
) -> None:
    """Trains jobs of one structure together, each in its folder.

    Args:
        jobs: composed and checked.
        catalog: the components that exist.
        reports: receive the progress of each job.
        on_end: called with the index of a job that has ended and its exception, if any.
        context: returns the context in which the job of an index prints and writes.
    """
    with engine(None) as (experiment, seconds):
        reuse = experiment.process_reuse()
        read = [_with_table(job, catalog, reuse=reuse) for job in jobs]
        runs = [
            experiment.Job(
                job.settings,
                job.folder,
                experiment.RunOptions(
                    overrides=job.overrides,
                    hparams=job.columns,
                    words=job.words,
                    import_seconds=seconds,
                    report=report,
                ),
            )
            for (job, _), report in zip(read, reports, strict=True)
        ]
        table = read[0][1]
        experiment.train_together(runs, catalog, table=table, reuse=reuse, on_end=on_end, context=context)


def _with_table(job: Job, catalog: Catalog, *, reuse: Any) -> tuple[Job, Table]:
    """Returns a job with what `auto` in its config becomes, and its rows.

    The rows are those of the last job, if neither the config nor the file has changed.
    """
    before = job.folder.read_run() if job.resume and job.folder.run_json.exists() else None
    table: Table = reuse.table(as_it_began(job.settings, before), lambda: load_table(job.settings.data, catalog))
    config = resolve_config(job.config, job.settings, catalog, table=table)
    if config is not job.config:
        job = job.with_config(config, build_settings(config, catalog, overrides=job.overrides))
    check_task(job.settings, catalog, task=table.task)
    return job, table


def write_hparams_row(job: Job, status: str) -> None:
    """Writes the row of a job in TensorBoard's HParams table, for a failed or pruned job that didn't write it."""
    from tfrun.engine.recording.tensorboard import TensorBoard, summary_metrics

    run = job.folder.read_run()
    board = TensorBoard(job.folder.tensorboard, words=job.words)
    with contextlib.suppress(OSError, ResourceError):  # the disk itself may be the cause of the failure
        metrics = summary_metrics(run["metrics"], run["best"])
        board.write_hparams(trial_name(job.words, job.folder.path), job.columns, metrics=metrics, status=status)
        board.close()
