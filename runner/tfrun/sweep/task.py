"""What a job does: it trains as a single run does."""

from __future__ import annotations

import contextlib
import functools
import json
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
from tfrun.config.settings import DataSettings
from tfrun.data.sources import load_table
from tfrun.data.table import Table
from tfrun.errors import Interrupted, SweepError
from tfrun.files.disk import write_atomically
from tfrun.load_engine import engine
from tfrun.sweep.jobs import Job, JobFolder, structure_of


def train(
    job: Job, catalog: Catalog, tell: Callable[..., None] | None = None, is_pruned: Callable[[], bool] | None = None
) -> None:
    """Trains a job in its folder, which is there.

    Args:
        job: composed and checked.
        catalog: the components.
        tell: called with step, last step, epoch, values and whether an epoch ended.
        is_pruned: whether the sweep has given the job up.
    """
    table = _table(job.settings.data, catalog)
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
    tell: Callable[..., None],
    ended: Callable[[int, BaseException | None], None],
    within: Callable[[int], contextlib.AbstractContextManager[Any]],
) -> None:
    """Trains jobs that are alike together, each in its folder.

    Args:
        jobs: composed and checked.
        catalog: the components.
        tell: called with a job's place among them, step, last step, epoch, values and whether an epoch ended.
        ended: called with a job's place once it has ended, and its exception.
        within: gives what is entered while a job does something of its own.
    """
    table = _table(jobs[0].settings.data, catalog)
    check_task(jobs[0].settings, catalog, table.task)
    with engine(None) as (experiment, seconds):
        runs = [
            {
                "settings": job.settings,
                "folder": job.folder,
                "overrides": job.overrides,
                "hparams": job.hparams,
                "import_seconds": seconds,
                "tell": functools.partial(tell, k),
            }
            for k, job in enumerate(jobs)
        ]
        experiment.train_together(runs, catalog, table, ended, within)


_tables: list[tuple[Any, Table]] = []  # the last job's, at most one: another of the same worker most often has the same


def _table(data: DataSettings, catalog: Catalog) -> Table:
    """Returns a job's rows, those of the job before it where nothing of them has changed."""
    path = Path(str(data.params.get("path", ""))).expanduser()
    file = path.stat() if path.is_file() else None
    key = json.dumps(data.to_dict(), sort_keys=True), file and (file.st_mtime_ns, file.st_size, file.st_ino)
    if not _tables or _tables[0][0] != key:
        _tables[:] = [(key, load_table(data, catalog))]
    return _tables[0][1]


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
