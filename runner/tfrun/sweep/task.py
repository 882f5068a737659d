"""What a job does: it trains as a single run does."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from tfrun.config.catalog import Catalog
from tfrun.config.compose import parse, plain, to_yaml
from tfrun.config.cross_checks import check_task
from tfrun.config.schema import build_settings
from tfrun.data.sources import load_table
from tfrun.data.table import Table
from tfrun.errors import Interrupted, SweepError
from tfrun.files.disk import write_atomically
from tfrun.load_engine import engine
from tfrun.sweep.jobs import Job, JobFolder, structure_of


def train(
    job: Job,
    catalog: Catalog,
    report: Callable[..., None] | None = None,
    is_pruned: Callable[[], bool] = lambda: False,
) -> None:
    """Trains a job in its folder, which exists.

    Args:
        job: composed and checked.
        catalog: the components that exist.
        report: called with step, last step, epoch, values and whether an epoch has ended.
        is_pruned: whether the sweep has pruned the job.
    """
    with engine(job.folder.log) as (experiment, seconds):
        table = _read_table(job, catalog, experiment.process_reuse())
        options = experiment.RunOptions(
            resume=job.resume and job.folder.run_json.exists(),
            overrides=job.overrides,
            hparams=job.hparams,
            import_seconds=seconds,
            report=report,
            is_pruned=is_pruned,
            pause_epoch=job.pause_epoch,
        )
        experiment.train(job.settings, job.folder, catalog=catalog, table=table, options=options)


def train_together(
    jobs: Sequence[Job],
    catalog: Catalog,
    *,
    report: Callable[..., None],
    on_end: Callable[[int, BaseException | None], None],
    context: Callable[[int], contextlib.AbstractContextManager[Any]],
) -> None:
    """Trains jobs that are alike together, each in its folder.

    Args:
        jobs: composed and checked.
        catalog: the components that exist.
        report: called with a job's index, step, last step, epoch, values and whether an epoch has ended.
        on_end: called with a job's index once it has ended, and its exception, if any.
        context: returns what is entered while a job works on its own.
    """
    with engine(None) as (experiment, seconds):
        reuse = experiment.process_reuse()
        table = _read_table(jobs[0], catalog, reuse)
        runs = [
            experiment.Job(
                job.settings,
                job.folder,
                experiment.RunOptions(
                    overrides=job.overrides,
                    hparams=job.hparams,
                    import_seconds=seconds,
                    report=functools.partial(report, k),
                ),
            )
            for k, job in enumerate(jobs)
        ]
        experiment.train_together(runs, catalog, table=table, reuse=reuse, on_end=on_end, context=context)


def _read_table(job: Job, catalog: Catalog, reuse: Any) -> Table:
    """Returns a job's rows: those of the last job, if neither the config nor the file has changed."""
    data = job.settings.data
    table = reuse.table(data, lambda: load_table(data, catalog))
    check_task(job.settings, catalog, table.task)
    return table


@dataclass(frozen=True)
class Task:
    """What Hydra's own launchers call for each job: trains it and returns its objective.

    A job that fails says so in its folder and raises SweepError: Hydra's sweepers raise the first job's error once all
    have ended, and as any other it would look as if the sweep itself had failed of it.

    Attributes:
        catalog: the components.
        swept: the keys that differ between the jobs, which are the columns of TensorBoard's HParams table.
    """

    catalog: Catalog
    swept: frozenset[str]

    def __call__(self, cfg: DictConfig) -> float | None:
        hydra = HydraConfig.get()
        overrides = [text.lstrip("+") for text in hydra.overrides.task]  # as people type them
        folder, config = JobFolder(Path(hydra.runtime.output_dir)), plain(cfg)
        hparams = {item.key_or_group: item.value() for item in parse(overrides) if item.key_or_group in self.swept}
        settings = build_settings(config, self.catalog, overrides)
        try:
            write_atomically(folder.config_yaml, to_yaml(config))  # Hydra has written the others
            train(Job(hydra.job.num, folder, overrides, hparams, settings, {}, structure_of(config)), self.catalog)
        except Interrupted:
            raise
        except Exception as error:
            folder.end(overrides, error)
            raise SweepError(f"job {hydra.job.num} failed: {error}") from error
        return objective(folder.read_run())


def objective(run: Mapping[str, Any]) -> float | None:
    """Returns the best value of the monitored metric, or None where no epoch has ended."""
    best = run.get("best") or {}
    return best.get(best.get("monitor"))
